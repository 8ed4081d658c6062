//! The gaps as a picture: a row for each fault and load, a dot for each run, on a logarithmic axis.
//! Must not leave a run out.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use e2e::harm::Harm;

use crate::sheet::{Series, Sheet, percentile};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 220.0;
const TOP: f64 = 64.0;
const ROW: f64 = 34.0;
const SHORTEST_MS: f64 = 80.0;
const LONGEST_MS: f64 = 40_000.0;
const TICKS_MS: [u64; 6] = [100, 300, 1_000, 3_000, 10_000, 30_000];

pub(crate) fn svg(sheet: &Sheet) -> String {
    let rows = sheet.series.len() as f64;
    let bottom = TOP + rows * ROW;
    let height = bottom + 48.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"16\" y=\"24\" \
         font-size=\"16\">Gap between two acknowledged writes, at a client of the Service</text>\n<text x=\"16\" \
         y=\"42\" fill=\"#666\">{}</text>\n",
        sheet.machine.told()
    );
    for tick in TICKS_MS {
        let x = x(tick);
        let label = match tick {
            0..1_000 => format!("{tick} ms"),
            _ => format!("{} s", tick / 1_000),
        };
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\n<text x=\"{x:.1}\" \
             y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{label}</text>",
            bottom + 16.0
        );
    }
    for (index, series) in sheet.series.iter().enumerate() {
        row(&mut out, series, TOP + (index as f64 + 0.5) * ROW);
    }
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"{:.1}\" fill=\"#666\">Dots: runs. Bar: median. Green: the goal, from half of all to 99 of \
         a hundred.</text>\n</svg>",
        bottom + 38.0
    );
    out
}

fn row(out: &mut String, series: &Series, y: f64) {
    let harm = Harm::from_str(&series.harm, false).ok();
    let what = harm.map_or(series.harm.as_str(), |harm| harm.what());
    let mut gaps: Vec<u64> = series.runs.iter().map(|run| run.gap_ms).collect();
    gaps.sort_unstable();
    if let Some((half, most)) = harm.map(Harm::goal_ms) {
        let (from, to) = (x(half), x(most));
        let _ = writeln!(
            out,
            "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#cfe8cf\"/>",
            y - ROW * 0.42,
            (to - from).max(2.0),
            ROW * 0.84
        );
    }
    for (index, gap) in gaps.iter().enumerate() {
        // Side by side where they are equal.
        let shift = (index % 5) as f64 * 4.0 - 8.0;
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"#1f5fa8\" fill-opacity=\"0.6\"/>",
            x(*gap),
            y + shift
        );
    }
    let (half, most) = (percentile(&gaps, 50), percentile(&gaps, 99));
    let middle = x(half);
    let _ = writeln!(
        out,
        "<line x1=\"{middle:.1}\" x2=\"{middle:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#c02020\" stroke-width=\"2\"/>\n\
         <text x=\"16\" y=\"{:.1}\">{what}, load {}</text>\n<text x=\"{:.1}\" y=\"{:.1}\">p50 {half}, p99 {most} ms, \
         {} runs</text>",
        y - ROW * 0.42,
        y + ROW * 0.42,
        y + 4.0,
        series.load,
        WIDTH - RIGHT + 8.0,
        y + 4.0,
        gaps.len()
    );
}

fn x(ms: u64) -> f64 {
    let ms = (ms as f64).clamp(SHORTEST_MS, LONGEST_MS);
    let share = (ms / SHORTEST_MS).ln() / (LONGEST_MS / SHORTEST_MS).ln();
    LEFT + share * (WIDTH - LEFT - RIGHT)
}
