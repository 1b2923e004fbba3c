//! What is said of stalled subscribers: the medians of the rounds, for each policy.

use serde::Serialize;

use super::Stalled;
use crate::commands::bench::latency::{Percentiles, median};
use crate::commands::bench::report::{LaneCost, Ratio, Told};
use crate::commands::bench::task::Policy;
use crate::commands::demo::report::grouped;
use crate::ending::Failure;
use crate::table::{Align, Table};

/// What one run has shown of the healthy subscribers, and of what the stalled one has cost.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Of the slowest.
    latency: Percentiles,
    after: Option<Percentiles>,
    lost: u64,
    published: u64,
    cost: LaneCost,
}

/// The last line.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    bench: &'static str,
    #[serde(flatten)]
    stalled: &'a Stalled,
    ring_bytes: usize,
    policies: Vec<OfPolicy>,
}

/// The rounds of one policy.
#[derive(Debug, Serialize)]
struct OfPolicy {
    policy: Policy,
    /// Messages published while there was a stalled subscriber.
    published: u64,
    /// Of those, dropped for the stalled one.
    dropped: u64,
    /// Messages that healthy ones have missed, in all runs.
    lost: u64,
    undisturbed: Percentiles,
    stalled: Percentiles,
    /// Of the p99 of both.
    #[serde(flatten)]
    ratio: Ratio,
    /// Only with the policy that makes publishers wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<Wait>,
}

/// What waiting for the stalled one has cost.
#[derive(Debug, Serialize)]
struct Wait {
    /// Deadlines that expired in a run: the fewest, the most.
    stalls: [u64; 2],
    /// How long the publisher waited in a run: the median, the longest.
    blocked_ms: [f64; 2],
    /// Latency of messages that were due once the deadline had expired.
    after: Percentiles,
    /// Of the p99 of those and the undisturbed ones.
    #[serde(flatten)]
    ratio: Ratio,
}

impl Run {
    /// Of what its processes told.
    pub fn of(told: &[Told]) -> Result<Self, Failure> {
        let (mut latencies, mut after) = (Vec::new(), Vec::new());
        let (mut published, mut cost, mut lost) = (0, LaneCost::default(), 0);
        for told in told {
            match *told {
                Told::Received {
                    lost: missed,
                    latencies: all,
                    after: behind,
                    ..
                } => {
                    lost += missed;
                    latencies.extend(all);
                    after.extend(behind);
                }
                Told::Published { messages, stalled } => (published, cost) = (messages, stalled),
                Told::Stalled { messages: 0 } => {
                    return Err(Failure::text(
                        "the stalled subscriber has read nothing before",
                    ));
                }
                Told::Ready | Told::RoundTrips(_) | Told::Stalled { .. } => {}
            }
        }
        Ok(Self {
            latency: Percentiles::worst(&latencies)
                .ok_or_else(|| Failure::text("nobody has received anything"))?,
            after: Percentiles::worst(&after),
            lost,
            published,
            cost,
        })
    }
}

impl<'a> Summary<'a> {
    /// Of runs without and with a stalled subscriber, for each policy.
    pub fn new(
        stalled: &'a Stalled,
        ring_bytes: usize,
        results: impl Iterator<Item = (Policy, Vec<(Run, Run)>)>,
    ) -> Self {
        Self {
            bench: "stalled",
            stalled,
            ring_bytes,
            policies: results
                .map(|(policy, rounds)| OfPolicy::new(policy, &rounds))
                .collect(),
        }
    }

    /// Messages that healthy subscribers have missed.
    pub fn lost(&self) -> u64 {
        self.policies.iter().map(|policy| policy.lost).sum()
    }

    /// For people.
    pub fn table(&self) -> Table {
        let heading = [
            "",
            "p50 us",
            "p99 us",
            "max us",
            "p99 ratio",
            "lost",
            "deadlines",
            "waited ms",
        ];
        let mut table = Table::new(Align::Numbers, &heading);
        for policy in &self.policies {
            let name = policy.policy;
            let lost = grouped(policy.lost);
            let (deadlines, waited) = policy.wait.as_ref().map_or_else(Default::default, |wait| {
                let [fewest, most] = wait.stalls;
                let [median, longest] = wait.blocked_ms;
                (
                    format!("{fewest} to {most}"),
                    format!("{median:.1}, at most {longest:.1}"),
                )
            });
            let row = |name, latency: &Percentiles, rest: [String; 4]| {
                let Percentiles {
                    p50_ns,
                    p99_ns,
                    max_ns,
                    ..
                } = *latency;
                let us = [p50_ns, p99_ns, max_ns].map(|ns| format!("{:.1}", ns / 1000.0));
                [name].into_iter().chain(us).chain(rest).collect()
            };
            table.cells(row(
                format!("{name}: undisturbed"),
                &policy.undisturbed,
                Default::default(),
            ));
            let rest = [policy.ratio.to_string(), lost, deadlines, waited];
            table.cells(row(format!("{name}: stalled"), &policy.stalled, rest));
            if let Some(wait) = &policy.wait {
                let rest = [
                    wait.ratio.to_string(),
                    String::new(),
                    String::new(),
                    String::new(),
                ];
                table.cells(row(
                    format!("{name}: after the deadline"),
                    &wait.after,
                    rest,
                ));
            }
        }
        table
    }
}

impl OfPolicy {
    fn new(policy: Policy, rounds: &[(Run, Run)]) -> Self {
        let undisturbed = rounds.iter().map(|(undisturbed, _)| undisturbed.latency);
        let stalled = rounds.iter().map(|(_, stalled)| stalled);
        Self {
            policy,
            published: stalled.clone().map(|run| run.published).sum(),
            dropped: stalled.clone().map(|run| run.cost.dropped).sum(),
            lost: rounds
                .iter()
                .map(|(one, other)| one.lost + other.lost)
                .sum(),
            ratio: ratio(
                undisturbed
                    .clone()
                    .zip(stalled.clone().map(|run| run.latency)),
            ),
            undisturbed: medians(undisturbed),
            stalled: medians(stalled.map(|run| run.latency)),
            wait: (policy == Policy::Block).then(|| Wait::new(rounds)),
        }
    }
}

impl Wait {
    fn new(rounds: &[(Run, Run)]) -> Self {
        let cost = rounds.iter().map(|(_, stalled)| stalled.cost);
        let stalls = cost.clone().map(|cost| cost.stalls);
        let blocked_ms = cost.map(|cost| (cost.blocked_ns as f64 / 1e4).round() / 100.0);
        // A run without an expired deadline has none, and shows in `stalls`.
        let after = rounds
            .iter()
            .filter_map(|(undisturbed, stalled)| Some((undisturbed.latency, stalled.after?)));
        Self {
            stalls: [stalls.clone().min().unwrap_or(0), stalls.max().unwrap_or(0)],
            blocked_ms: [median(blocked_ms.clone()), blocked_ms.fold(0.0, f64::max)],
            ratio: ratio(after.clone()),
            after: medians(after.map(|(_, after)| after)),
        }
    }
}

/// How the p99 of the second compares with that of the first.
fn ratio(pairs: impl Iterator<Item = (Percentiles, Percentiles)> + Clone) -> Ratio {
    Ratio::of(pairs.map(|(one, other)| other.p99_ns / one.p99_ns))
}

fn medians(runs: impl Iterator<Item = Percentiles>) -> Percentiles {
    Percentiles::median(&runs.collect::<Vec<_>>())
}
