//! Tells stories one after the other and counts: `cargo stories [WORDS] [--kubeconfig FILE]`.
//! Must not decide what a story means.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use e2e::stage::{Images, Stage};
use e2e::stories::{ALL, Story};
use ground::faults;
use ground::ground::Ground;

#[derive(Parser)]
#[command(name = "cargo stories", about = "Tells stories on a real Kubernetes")]
struct Cli {
    /// Only stories whose name contains one of these.
    words: Vec<String>,
    /// List the stories and what they need.
    #[arg(long)]
    list: bool,
    /// Leave out those that take minutes.
    #[arg(long)]
    short: bool,
    /// The proving ground to play on.
    #[arg(long, default_value = "main")]
    name: String,
    /// A Kubernetes that exists already, instead of a proving ground; stories that break nodes are skipped.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Stock MySQL, where the cluster can pull it.
    #[arg(long)]
    mysql_image: Option<String>,
    /// The checker's image, where the cluster can pull it.
    #[arg(long)]
    checker_image: Option<String>,
    /// The operator's image, where the cluster can pull it.
    #[arg(long)]
    operator_image: Option<String>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    let chosen: Vec<&Story> = ALL
        .iter()
        .filter(|story| cli.words.is_empty() || cli.words.iter().any(|word| story.name.contains(word)))
        .collect();
    if cli.list {
        for story in chosen {
            println!(
                "{}{}",
                story.name,
                if story.needs_nodes {
                    " (needs our own nodes)"
                } else {
                    ""
                }
            );
        }
        return Ok(true);
    }
    anyhow::ensure!(
        !chosen.is_empty(),
        "no story has such a name: `cargo stories --list` shows all"
    );
    let stage = stage(cli)?;
    stage.clean()?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for story in chosen {
        if story.is_long && cli.short {
            println!(
                "skip  {}: it takes minutes, and `cargo stories` tells it",
                story.name
            );
            skipped += 1;
        } else if story.needs_nodes && !stage.has_nodes() {
            println!("skip  {}: it breaks nodes, and these are not ours", story.name);
            skipped += 1;
        } else if tell(&stage, story) {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    stage.clean()?;
    println!("stories: {passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}

fn stage(cli: &Cli) -> Result<Stage> {
    let mut images = Images::default();
    for (given, image) in [
        (&cli.mysql_image, &mut images.mysql),
        (&cli.checker_image, &mut images.checker),
        (&cli.operator_image, &mut images.operator),
    ] {
        if let Some(name) = given {
            image.clone_from(name);
        }
    }
    if let Some(kubeconfig) = &cli.kubeconfig {
        return Ok(Stage::elsewhere(kubeconfig.clone(), images));
    }
    let ground = Ground::open(&cli.name)?;
    let healed = faults::heal_all(&ground)?;
    if healed > 0 {
        println!("healed {healed} faults that an earlier run left");
    }
    Ok(Stage::on_ground(ground, images))
}

fn tell(stage: &Stage, story: &Story) -> bool {
    let begun = Instant::now();
    let result = (story.tell)(stage);
    let seconds = begun.elapsed().as_secs_f64();
    match result {
        Ok(evidence) => {
            println!("ok    {} ({seconds:.1} s): {evidence}", story.name);
            true
        }
        Err(error) => {
            println!("FAIL  {} ({seconds:.1} s): {error:#}", story.name);
            if let Ok(ground) = stage.ground()
                && let Err(error) = faults::heal_all(ground)
            {
                println!("      and its faults do not heal: {error:#}");
            }
            false
        }
    }
}
