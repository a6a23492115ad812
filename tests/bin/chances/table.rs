//! The result as tables in Markdown.

use std::fmt::Write;

use crate::Findings;
use crate::campaign::{Finding, Way, median, quantile};
use crate::programs::Program;

/// The portfolio's 90th percentile is to be at most so many times that of the best strategy.
const GOAL: f64 = 3.0;

/// An attempt under chaos is to take at most so many times what a fair one takes.
const COST_GOAL: f64 = 1.5;

/// A quantity of findings: its name, how to take it, how to write it.
type Quantity = (&'static str, fn(&Finding) -> f64, fn(f64) -> String);

const ATTEMPTS: Quantity = ("Attempts", |finding| finding.attempts, |number| format!("{number:.0}"));
const SECONDS: Quantity = ("Seconds", |finding| finding.seconds, |number| format!("{number:.2}"));

/// All tables. The last of `ways` is the portfolio.
pub(crate) fn render(programs: &[Program], ways: &[Way], findings: &Findings, most: u64) -> String {
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
        line(
            &mut text,
            &format!(
                "\nWithin {GOAL} times the best strategy's: {within} of {} programs; {never} that no strategy finds in nine of ten campaigns.\n",
                programs.len()
            ),
        );
    }
    costs(&mut text, programs, ways, &of);
    text
}

/// Writing to a string does not fail.
fn line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}");
}

fn head(text: &mut String, name: &str, ways: &[Way]) {
    line(text, &format!("## {name} to the first failure: median / 90th percentile\n"));
    let names: Vec<_> = ways.iter().map(Way::to_string).collect();
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

/// The portfolio's 90th percentile to the best of the strategies; NaN if none of them has one.
fn ratio(cells: &[Cell]) -> f64 {
    let Some((portfolio, strategies)) = cells.split_last() else { return f64::NAN };
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

/// What an attempt costs under each strategy, to a fair one.
fn costs<'a>(
    text: &mut String,
    programs: &[Program],
    ways: &[Way],
    of: &impl Fn(usize, usize) -> &'a [Finding],
) {
    line(text, "## Cost of a passing attempt, to one under a fair schedule\n");
    let names: Vec<_> = ways.iter().map(Way::to_string).collect();
    row(text, "program", &names, "fair, ms");
    line(text, &format!("|---|{}---:|", "---:|".repeat(ways.len())));
    let mut ratios = vec![Vec::new(); ways.len()];
    for (number, program) in programs.iter().enumerate() {
        let mut cells = Vec::new();
        for (way, ratios) in ratios.iter_mut().enumerate() {
            let paces = of(number, way).iter().map(|finding| finding.pace).filter(|pace| !pace.is_nan());
            let ratio = median(paces.collect()) / program.fair;
            ratios.extend((!ratio.is_nan()).then_some(ratio));
            cells.push(if ratio.is_nan() { "–".to_owned() } else { format!("{ratio:.2}×") });
        }
        let fair = if program.fair.is_nan() { "–".to_owned() } else { format!("{:.2}", program.fair) };
        row(text, &program.to_string(), &cells, &fair);
    }
    let medians: Vec<_> = ratios.into_iter().map(|ratios| format!("{:.2}×", median(ratios))).collect();
    row(text, "**median**", &medians, &format!("goal: ≤ {COST_GOAL}×"));
}
