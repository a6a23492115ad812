//! The result as tables in Markdown.

use std::fmt::Write;

use crate::Findings;
use crate::campaign::{Finding, Scheduling, median, quantile};
use crate::cost::Cost;
use crate::programs::Program;

/// The portfolio's 90th percentile is to be at most so many times that of the best strategy.
const GOAL: f64 = 3.0;

/// An attempt under chaos is to take at most so many times what a fair one takes.
const COST_GOAL: f64 = 1.5;

/// A quantity of findings: its name, how to take it, how to write it.
type Quantity = (&'static str, fn(&Finding) -> f64, fn(f64) -> String);

const ATTEMPTS: Quantity = ("Attempts", |finding| finding.attempts, |number| format!("{number:.0}"));
const SECONDS: Quantity = ("Seconds", |finding| finding.seconds, |number| format!("{number:.2}"));

/// The tables of what was found. The last of `ways` is the portfolio.
pub(crate) fn findings(programs: &[Program], ways: &[Scheduling], findings: &Findings, most: u64) -> String {
    let of = |program: usize, way: usize| &findings[&(program, way)][..];
    let mut text = String::new();
    for quantity in [ATTEMPTS, SECONDS] {
        let (mut within, mut never) = (0, 0);
        head(&mut text, quantity.0, ways);
        for (number, program) in programs.iter().enumerate() {
            let cells: Vec<_> = (0..ways.len()).map(|way| Cell::new(of(number, way), quantity)).collect();
            let ratio = ratio(&cells);
            within += u32::from(ratio <= GOAL);
            never += u32::from(ratio.is_nan());
            let cells: Vec<_> = cells.iter().map(|cell| cell.show(quantity, most)).collect();
            row(&mut text, &program.to_string(), &cells, &times(ratio));
        }
        // By itself the portfolio is compared with nothing.
        if ways.len() == 1 {
            text.push('\n');
            continue;
        }
        line(
            &mut text,
            &format!(
                "\nWithin {GOAL} times the best strategy's: {within} of {} programs; {never} that no strategy finds in nine of ten campaigns.\n",
                programs.len()
            ),
        );
    }
    text
}

/// Writing to a string does not fail.
fn line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}");
}

fn head(text: &mut String, name: &str, ways: &[Scheduling]) {
    line(text, &format!("## {name} to the first failure: median / 90th percentile\n"));
    let names: Vec<_> = ways.iter().map(Scheduling::to_string).collect();
    row(text, "program", &names, "portfolio to best");
    line(text, &format!("|---|{}---:|", "---:|".repeat(ways.len())));
}

fn row(text: &mut String, first: &str, cells: &[String], last: &str) {
    line(text, &format!("| {first} | {} | {last} |", cells.join(" | ")));
}

/// The middle and the end of what campaigns found.
struct Cell {
    median: f64,
    most: f64,
}

impl Cell {
    fn new(findings: &[Finding], (_, take, _): Quantity) -> Self {
        let samples: Vec<f64> = findings.iter().map(take).collect();
        Self { median: median(samples.clone()), most: quantile(samples, 0.9) }
    }

    fn show(&self, (_, _, write): Quantity, most: u64) -> String {
        let number = |number: f64| if number.is_finite() { write(number) } else { format!("> {most} att.") };
        match (self.median.is_finite(), self.most.is_finite()) {
            (false, _) => number(self.median),
            _ => format!("{} / {}", number(self.median), number(self.most)),
        }
    }
}

/// The portfolio's 90th percentile to the best of the strategies; NaN if none of them has one, or none was tried.
fn ratio(cells: &[Cell]) -> f64 {
    let Some((portfolio, strategies @ [_, ..])) = cells.split_last() else { return f64::NAN };
    let best = strategies.iter().map(|cell| cell.most).fold(f64::INFINITY, f64::min);
    if best.is_finite() || portfolio.most.is_finite() { portfolio.most / best } else { f64::NAN }
}

fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio.is_nan() => "–".to_owned(),
        ratio if ratio.is_infinite() => "**never**".to_owned(),
        ratio if ratio > GOAL => format!("**{ratio:.1}×**"),
        ratio => format!("{ratio:.1}×"),
    }
}

/// The table of what an attempt costs under each strategy, to a fair one.
pub(crate) fn costs(programs: &[Program], ways: &[Scheduling], costs: &[Cost]) -> String {
    let mut text = String::new();
    line(&mut text, "## Cost of a passing attempt, to one under a fair schedule\n");
    let names: Vec<_> = ways.iter().map(Scheduling::to_string).collect();
    row(&mut text, "program", &names, "fair, ms");
    line(&mut text, &format!("|---|{}---:|", "---:|".repeat(ways.len())));
    let or_dash = |number: f64, shown: String| if number.is_nan() { "–".to_owned() } else { shown };
    for (program, Cost { fair, ratios }) in programs.iter().zip(costs) {
        let cells: Vec<_> = ratios.iter().map(|ratio| or_dash(*ratio, format!("{ratio:.2}×"))).collect();
        row(&mut text, &program.to_string(), &cells, &or_dash(*fair, format!("{fair:.2}")));
    }
    let of_way =
        |way: usize| costs.iter().map(|cost| cost.ratios[way]).filter(|ratio| !ratio.is_nan()).collect();
    let medians: Vec<_> = (0..ways.len()).map(|way| format!("{:.2}×", median(of_way(way)))).collect();
    row(&mut text, "**median**", &medians, &format!("goal: ≤ {COST_GOAL}×"));
    text
}
