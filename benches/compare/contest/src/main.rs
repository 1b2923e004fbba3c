//! Runs contenders in turns, on the same work, and reports.

mod awake;
mod case;
mod docs;
mod figures;
mod plot;
mod process;
mod report;
mod round;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use compare_harness::{Mode, Workload};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use awake::Awake;
use case::{Case, Only};
use figures::{Results, Row};
use round::{Entrant, Stage};

/// Compares Ringmain with others, and with what the machine can do.
#[derive(Debug, Parser)]
#[command(name = "run.sh")]
struct Options {
    /// 64 B and 1 MiB only, three short rounds.
    #[arg(long)]
    quick: bool,
    /// One line of JSON for each result on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
    /// Only these workloads.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Only>,
    /// Only these rivals; without a name, none.
    #[arg(long, value_delimiter = ',', num_args = 0..)]
    rivals: Option<Vec<String>>,
    /// Only messages of these lengths, in bytes.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Only contenders that wait in these ways: spin, yield, park, async.
    #[arg(long, value_delimiter = ',')]
    waits: Vec<String>,
    /// How often each contender runs: 5 unless given, or 3.
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each is measured in a round: 0.6 unless given, or 0.2.
    #[arg(long)]
    seconds: Option<f64>,
    /// Keeps the cores from halting meanwhile.
    #[arg(long)]
    awake: bool,
    /// Writes tables and plots into this folder's `performance.md`: `docs` unless given.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "../../docs")]
    docs: Option<PathBuf>,
    /// Folder of the contenders' programs.
    #[arg(long, hide = true)]
    programs: PathBuf,
    /// Folder in memory for what the processes share.
    #[arg(long, hide = true)]
    scratch: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let entrants = options.entrants()?;
    let all_cores = usable_cores()?;
    let cores = match all_cores[..] {
        [first, second, ..] => Some([first, second]),
        _ => {
            eprintln!("one core only: nobody keeps to a core of its own");
            None
        }
    };
    let _awake = match options.awake {
        true => Some(Awake::keep(&all_cores)?),
        false => None,
    };
    let mut stage = Stage::new(options.scratch.clone(), cores, options.time());
    let mut all = Vec::new();
    for case in options.cases() {
        let results = compete(&mut stage, &case, &entrants, options.rounds());
        if options.json {
            for value in report::json(&results) {
                println!("{value}");
            }
        } else {
            println!("\n{:?}, {}\n", case.workload, case.name());
            print!("{}", report::figures(&results).markdown());
        }
        all.push(results);
    }
    if !options.json {
        print_ratios(&all);
    }
    if let Some(folder) = &options.docs {
        docs::write(folder, &all, &options.about(all_cores.len()))?;
    }
    let rows = all.iter().flat_map(|results| &results.rows);
    let ours = rows.filter(|row| row.is_ringmain());
    let missing = ours.map(|row| row.sum(|figures| figures.lost + figures.corrupt));
    let missing: u64 = missing.sum();
    ensure!(
        missing == 0,
        "{missing} of our messages were lost or corrupt"
    );
    Ok(())
}

/// All rounds of a case: every contender once in each, beginning with another one each time.
fn compete(stage: &mut Stage, case: &Case, entrants: &[Entrant], rounds: usize) -> Results {
    let takes_part =
        |mode: &Mode| mode.workloads.contains(&case.workload) && case.size_bytes <= mode.max_bytes;
    let entrants: Vec<&Entrant> = entrants
        .iter()
        .filter(|entrant| takes_part(&entrant.mode))
        .collect();
    let rows = entrants.iter().map(|entrant| Row {
        mode: entrant.mode.clone(),
        rounds: vec![None; rounds],
    });
    let mut rows: Vec<Row> = rows.collect();
    for number in 0..rounds {
        eprintln!(
            "{:?}, {}: round {} of {rounds}",
            case.workload,
            case.name(),
            number + 1
        );
        for place in 0..entrants.len() {
            let index = (place + number) % entrants.len();
            match stage.round(case, entrants[index]) {
                Ok(figures) => rows[index].rounds[number] = Some(figures),
                Err(error) => {
                    let wait = report::wait(entrants[index].mode.wait);
                    eprintln!("{}, {wait}: {error:#}", report::name(&rows[index]));
                }
            }
        }
    }
    Results { case: *case, rows }
}

fn print_ratios(all: &[Results]) {
    let mut workloads: Vec<Workload> = all.iter().map(|results| results.case.workload).collect();
    workloads.dedup();
    for workload in workloads {
        for (figure, what) in report::ratios_of_workload(workload) {
            println!("\n{workload:?}. {what}\n");
            print!("{}", report::ratios(all, workload, figure).markdown());
        }
        if workload == Workload::Rtt {
            println!();
            print!("{}", report::handing_over(all).markdown());
        }
        if workload == Workload::Fanout {
            println!();
            print!("{}", report::per_subscriber(all).markdown());
        }
    }
    println!("\nWhere we lose\n");
    print!("{}", report::losses(all).markdown());
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).max(1)
    }

    fn time(&self) -> Duration {
        let seconds = self.seconds.unwrap_or(if self.quick { 0.2 } else { 0.6 });
        Duration::from_secs_f64(seconds.clamp(0.01, 60.0))
    }

    /// What was run, where.
    fn about(&self, cores: usize) -> String {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown processor", |(_, model)| model.trim());
        format!(
            "{} rounds of {:.1} s each; {cores} cores, {model}, Linux {}{}.",
            self.rounds(),
            self.time().as_secs_f64(),
            kernel.trim(),
            if self.awake { ", cores kept awake" } else { "" },
        )
    }

    fn cases(&self) -> Vec<Case> {
        let workloads: Vec<_> = self.only.iter().map(|only| only.workload()).collect();
        let mut cases = Case::all();
        cases.retain(|case| {
            (workloads.is_empty() || workloads.contains(&case.workload))
                && (self.sizes.is_empty() || self.sizes.contains(&case.size_bytes))
                && (!self.quick || case.is_quick())
        });
        cases
    }

    /// Ringmain first, then what the machine can do, then the rivals that were built.
    fn entrants(&self) -> Result<Vec<Entrant>> {
        let mut programs = vec![self.program("ringmain"), self.program("raw")];
        for entry in std::fs::read_dir(&self.programs)? {
            let path = entry?.path();
            let is_rival = |name: &str| {
                let name = name.strip_prefix(PREFIX);
                name.is_some_and(|name| !OWN.contains(&name) && !name.contains('.'))
            };
            if path.is_file()
                && path
                    .file_name()
                    .is_some_and(|name| name.to_str().is_some_and(is_rival))
            {
                programs.push(path);
            }
        }
        programs[2..].sort();
        let mut entrants = Vec::new();
        for program in programs {
            let modes = modes(&program)?;
            entrants.extend(modes.into_iter().map(|mode| Entrant {
                program: program.clone(),
                mode,
            }));
        }
        let wanted = |mode: &Mode| {
            let name = mode.contender.as_str();
            let is_own = name.starts_with("ringmain") || name.starts_with("raw");
            let rivals = self.rivals.as_ref();
            let wait = report::wait(mode.wait).to_owned();
            (is_own || rivals.is_none_or(|rivals| rivals.iter().any(|rival| rival == name)))
                && (self.waits.is_empty() || self.waits.contains(&wait))
        };
        entrants.retain(|entrant| wanted(&entrant.mode));
        Ok(entrants)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(format!("{PREFIX}{name}"))
    }
}

fn modes(program: &Path) -> Result<Vec<Mode>> {
    let output = Command::new(program)
        .arg("modes")
        .output()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    ensure!(
        output.status.success(),
        "{} does not say what it offers",
        program.display()
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn usable_cores() -> Result<Vec<usize>> {
    let cores = sched_getaffinity(Pid::from_raw(0))?;
    let all = 0..CpuSet::count();
    Ok(all.filter(|core| cores.is_set(*core) == Ok(true)).collect())
}

const PREFIX: &str = "compare-";
/// Programs that are no rivals.
const OWN: [&str; 3] = ["contest", "ringmain", "raw"];
