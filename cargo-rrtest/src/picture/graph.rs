//! Who waits for whom, as a drawing.

use std::f64::consts::PI;

use maud::{Markup, html};
use rrtest_engine::ending::{TaskState, cycle};
use rrtest_engine::task::TaskId;

use super::text::plain;
use crate::ending::waits;

/// More threads are not drawn: a picture of them says nothing.
const MOST: usize = 12;

/// Half the size of a node.
const NODE: (f64, f64) = (92.0, 24.0);

/// How far a line that leads there is bent away from the one that leads back.
const BEND: f64 = 54.0;

/// A thread that another one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge<'a> {
    from: usize,
    to: usize,
    state: &'a TaskState,
    in_cycle: bool,
}

/// Draws who waits for whom, if somebody waits for a thread that is known. `names` are in the order of the states.
pub(super) fn draw(states: &[TaskState], names: &[String]) -> Option<Markup> {
    let way = cycle(states).unwrap_or_default();
    let waits_for = |state: &TaskState| state.wait.as_ref().map_or(Vec::new(), |wait| wait.by.clone());
    let is_drawn = |id: TaskId| {
        way.contains(&id)
            || states.iter().any(|state| {
                let by = waits_for(state);
                by.contains(&id) || state.task == id && !by.is_empty()
            })
    };
    let mut nodes: Vec<usize> = (0..states.len()).filter(|at| is_drawn(states[*at].task)).collect();
    // Those of the cycle beside each other, in its order.
    nodes.sort_by_key(|at| way.iter().position(|id| *id == states[*at].task).unwrap_or(usize::MAX));
    nodes.truncate(MOST);
    if nodes.len() < 2 {
        return None;
    }
    let node_of = |id: TaskId| nodes.iter().position(|at| states[*at].task == id);
    let mut edges = Vec::new();
    for (from, at) in nodes.iter().enumerate() {
        let state = &states[*at];
        for to in waits_for(state).iter().filter_map(|id| node_of(*id)) {
            let next = way.iter().position(|id| *id == state.task).map(|at| way[(at + 1) % way.len()]);
            let in_cycle = next.is_some_and(|next| node_of(next) == Some(to));
            edges.push(Edge { from, to, state, in_cycle });
        }
    }
    let (places, size) = places(nodes.len());
    Some(html! {
        svg .graph viewBox=(format!("0 0 {:.0} {:.0}", size.0, size.1)) role="img"
            aria-label="Who waits for whom; the list below says the same" {
            defs {
                @for (id, class) in [("arrow", "head"), ("arrow-cycle", "head in-cycle")] {
                    marker id=(id) viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8"
                        orient="auto-start-reverse" { path class=(class) d="M0 0L10 5L0 10z" {} }
                }
            }
            @for edge in &edges { (self::edge(edge, &edges, (&places, size))) }
            @for (place, at) in places.iter().zip(&nodes) {
                rect .node.in-cycle[way.contains(&states[*at].task)] x=(px(place.0 - NODE.0)) y=(px(place.1 - NODE.1))
                    width=(px(2.0 * NODE.0)) height=(px(2.0 * NODE.1)) rx="8" {}
                text .name x=(px(place.0)) y=(px(place.1 + 5.0)) { (plain(&names[*at]).replace('`', "")) }
            }
        }
    })
}

fn edge(edge: &Edge<'_>, all: &[Edge<'_>], (places, size): (&[(f64, f64)], (f64, f64))) -> Markup {
    let (from, to) = (places[edge.from], places[edge.to]);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1.0);
    let half = (f64::midpoint(from.0, to.0), f64::midpoint(from.1, to.1));
    let goes_back = all.iter().any(|other| (other.from, other.to) == (edge.to, edge.from));
    // Two that lead there and back are bent apart. The words stand on the outer side: that of the bend, or of the drawing.
    let (mut out_x, mut out_y) = (-dy / length, dx / length);
    let outwards = out_x * (half.0 - size.0 / 2.0) + out_y * (half.1 - size.1 / 2.0);
    if !goes_back && (outwards < -1.0 || outwards.abs() <= 1.0 && out_y > 0.0) {
        (out_x, out_y) = (-out_x, -out_y);
    }
    let bend = if goes_back { BEND } else { 0.0 };
    let middle = (half.0 + out_x * bend, half.1 + out_y * bend);
    let (start, end) = (border(from, middle), border(to, middle));
    let words = edge.state.wait.as_ref().map_or("", |wait| waits::kind_in_words(wait.on));
    // A curve passes half-way between its middle and the line.
    let label = (
        f64::midpoint(middle.0, f64::midpoint(start.0, end.0)) + out_x * 10.0,
        f64::midpoint(middle.1, f64::midpoint(start.1, end.1)) + out_y * 14.0,
    );
    let side = match out_x {
        x if x > 0.3 => "on right",
        x if x < -0.3 => "on left",
        _ => "on",
    };
    let marker = if edge.in_cycle { "url(#arrow-cycle)" } else { "url(#arrow)" };
    let [a, b, c, d, e, f] = [start.0, start.1, middle.0, middle.1, end.0, end.1].map(px);
    let curve = format!("M{a} {b}Q{c} {d} {e} {f}");
    html! {
        path .edge.in-cycle[edge.in_cycle] marker-end=(marker) d=(curve) {}
        text class=(side) x=(px(label.0)) y=(px(label.1 + 4.0)) { "waits " (words) }
    }
}

/// Where the line from the middle of a node to a point leaves the node.
fn border(node: (f64, f64), towards: (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (towards.0 - node.0, towards.1 - node.1);
    let part = |size: f64, d: f64| if d.abs() < 0.01 { f64::MAX } else { (size + 3.0) / d.abs() };
    let scale = part(NODE.0, dx).min(part(NODE.1, dy)).min(1.0);
    (node.0 + dx * scale, node.1 + dy * scale)
}

/// The middles of so many nodes on a circle, and the size of the drawing.
fn places(count: usize) -> (Vec<(f64, f64)>, (f64, f64)) {
    let radius = match count {
        0..=2 => (200.0, 0.0),
        3..=5 => (280.0, 130.0),
        _ => (300.0, 60.0 + 26.0 * count as f64),
    };
    // Of three, one is at the top and two are not quite at the bottom.
    let lower = if count == 3 { radius.1 * 0.45 } else { 0.0 };
    let size = (2.0 * (radius.0 + NODE.0) + 140.0, 2.0 * (radius.1 + NODE.1) + 100.0 - lower);
    let begin = if count <= 2 { PI } else { -PI / 2.0 };
    let place = |index: usize| {
        let angle = begin + 2.0 * PI * index as f64 / count as f64;
        (size.0 / 2.0 + radius.0 * angle.cos(), (size.1 + lower) / 2.0 + radius.1 * angle.sin())
    };
    ((0..count).map(place).collect(), size)
}

fn px(number: f64) -> String {
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rrtest_engine::ending::{Awaited, Wait};

    fn state(task: u32, by: &[u32]) -> TaskState {
        let by: Vec<TaskId> = by.iter().copied().map(TaskId).collect();
        TaskState {
            task: TaskId(task),
            name: format!("t{task}"),
            doing: String::new(),
            wait: Some(Wait { on: Awaited::Mutex, futex: None, what: None, by, gone: None, limited: false }),
            spawned: None,
            awaits: Vec::new(),
            frames: Vec::new(),
        }
    }

    #[test]
    fn a_cycle_is_drawn_with_those_who_wait_for_it() {
        let states = [state(1, &[2]), state(2, &[3]), state(3, &[2]), state(4, &[])];
        let names = ["<a>", "b", "c", "d"].map(str::to_owned);
        let svg = draw(&states, &names).expect("a drawing").into_string();
        assert_eq!(svg.matches("<path class=\"edge in-cycle\"").count(), 2);
        assert_eq!(svg.matches("<path class=\"edge\"").count(), 1);
        assert_eq!(svg.matches("<rect").count(), 3, "the fourth waits for nobody who is known");
        assert!(svg.contains("&lt;a&gt;"));
        assert!(draw(&states[3..], &names).is_none());
    }

    #[test]
    fn lines_begin_and_end_at_nodes_borders() {
        assert_eq!(border((0.0, 0.0), (500.0, 0.0)), (NODE.0 + 3.0, 0.0));
        assert_eq!(border((0.0, 0.0), (0.0, -500.0)), (0.0, -NODE.1 - 3.0));
    }
}
