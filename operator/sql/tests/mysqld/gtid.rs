//! Owns the comparison of our GTID algebra with the server's, on random sets.
//! It must not draw sets that a failure could not draw again.

use mysql_async::prelude::Queryable;
use topology::gtid::GtidSet;

use crate::block_on;
use crate::server::{Authority, Client, Server};

const ROUNDS: usize = 400;

/// A small generator with a fixed seed: the same sets in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Few sources and small numbers, so that sets meet; tags, gaps, empty sets, huge numbers too.
    fn set(&mut self) -> String {
        let mut parts = Vec::new();
        for _ in 0..self.below(5) {
            let uuid = ["aaaaaaaa", "BBBBBBBB", "0c0c0c0c"][self.below(3) as usize];
            let mut part = format!("{uuid}-1111-2222-3333-444444444444");
            if self.below(3) == 0 {
                part.push_str([":blue", ":Green", ":_x9"][self.below(3) as usize]);
            }
            for _ in 0..=self.below(4) {
                let first = match self.below(20) {
                    0 => i64::MAX as u64 - 30,
                    _ => 1,
                } + self.below(20);
                match self.below(2) {
                    0 => part.push_str(&format!(":{first}")),
                    _ => part.push_str(&format!(":{first}-{}", first + self.below(9))),
                }
            }
            parts.push(part);
        }
        parts.join(", ")
    }
}

#[test]
fn the_server_agrees_on_random_sets() {
    block_on(async {
        let mut server = Server::start("gtid", 1, &Authority::new(), &[]);
        server.ready().await;
        let mut client = Client::root(&server).await;
        let mut random = Random(0x5eed_1234_5678_9abc);
        let (mut subsets, mut rests) = (0, 0);
        for round in 0..ROUNDS {
            let (left, mut right) = (random.set(), random.set());
            // Half of the pairs are made to be subsets.
            if random.below(2) == 0 {
                right = format!("{left},{right}");
            }
            let sql = format!(
                "SELECT GTID_SUBSET('{left}', '{right}'), GTID_SUBTRACT('{left}', '{right}'), \
                 GTID_SUBTRACT('{left}', '')"
            );
            let row: Option<(bool, String, String)> = client.0.query_first(sql).await.unwrap();
            let (is_subset, rest, normal) = row.unwrap();
            let what = format!("round {round}: {left:?} {right:?}");
            let (left, right): (GtidSet, GtidSet) = (left.parse().unwrap(), right.parse().unwrap());
            assert_eq!(left.is_subset(&right), is_subset, "{what}");
            assert_eq!(left.subtract(&right).to_string(), rest, "{what}");
            assert_eq!(left.to_string(), normal, "{what}");
            assert_eq!(
                left.union(&right).subtract(&right),
                left.subtract(&right),
                "{what}"
            );
            subsets += usize::from(is_subset);
            rests += usize::from(!rest.is_empty());
        }
        // The draw must not be trivial.
        assert!(subsets > ROUNDS / 8 && rests > ROUNDS / 8, "{subsets} {rests}");
    });
}
