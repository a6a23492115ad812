//! Rows of the result: a goal, what was measured, whether it is met.

use std::fmt::Write;

/// What a measured number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// So many times as much.
    Ratio,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// What it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// This or less.
    AtMost(f64),
    /// More than this.
    MoreThan(f64),
    /// Shown for comparison.
    None,
}

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Of what.
    pub(crate) work: String,
    /// What it should be.
    pub(crate) goal: Goal,
    /// What the numbers are.
    pub(crate) unit: Unit,
    /// One number for each round; why not, if there is none.
    pub(crate) samples: Result<Vec<f64>, String>,
    /// What the numbers were made of.
    pub(crate) note: String,
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len(), sorted.len() % 2) {
        (0, _) => f64::NAN,
        (_, 0) => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

/// The rows as a table in Markdown.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut table = String::from(
        "| work | goal | measured | least–most | met | made of (medians) |\n|---|---|---:|---:|---|---|\n",
    );
    for row in rows {
        // Writing to a string does not fail.
        let _ = writeln!(table, "| {} |", cells(row).join(" | "));
    }
    table
}

fn cells(row: &Row) -> [String; 6] {
    let goal = match row.goal {
        Goal::AtMost(most) => format!("≤ {}", number(row.unit, most)),
        Goal::MoreThan(least) => format!("> {}", number(row.unit, least)),
        Goal::None => String::new(),
    };
    let samples = match &row.samples {
        Ok(samples) => samples,
        Err(why) => {
            return [row.work.clone(), goal, "–".into(), String::new(), "skipped".into(), why.clone()];
        }
    };
    let measured = median(samples);
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let most = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let met = match row.goal {
        Goal::AtMost(most) => Some(measured <= most),
        Goal::MoreThan(least) => Some(measured > least),
        Goal::None => None,
    };
    let met = met.map_or("", |met| if met { "yes" } else { "**no**" });
    let spread = match samples.len() {
        1 => String::new(),
        _ => format!("{}–{}", number(row.unit, least), number(row.unit, most)),
    };
    [row.work.clone(), goal, number(row.unit, measured), spread, met.to_owned(), row.note.clone()]
}

fn number(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Ratio => format!("{value:.2}×"),
        Unit::Seconds => seconds(value),
        Unit::Bytes => match value {
            0.0 => "0".to_owned(),
            value if value.abs() < 1024.0 * 1024.0 => format!("{:.1} KiB", value / 1024.0),
            value => format!("{:.1} MiB", value / (1024.0 * 1024.0)),
        },
    }
}

/// A time in three digits.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds.abs() >= 1.0 => format!("{seconds:.2} s"),
        seconds if seconds.abs() >= 1e-3 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{:.2} µs", seconds * 1e6),
    }
}
