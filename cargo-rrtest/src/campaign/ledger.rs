//! What attempts use that others could use, too: those under way, and those that each test has had so far.
//!
//! A thing is wanted again if attempts have used it before: more than one of the last few, as what only one has used has a name that
//! is new each time. Attempts that want the same thing are not under way at the same time. Whatever a test is not known to
//! use shows when an attempt at it ends: those that had it beside them then may have been disturbed ([`super::doubt`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rrtest_engine::claims::{Claims, Thing, Use};

use super::registry::{Registry, Taken};
use crate::discover::test::Test;

/// So many attempts of each test count.
const RECENT: usize = 8;

/// For so long all attempts may be kept waiting by another campaign before the user is told.
const LONG: Duration = Duration::from_secs(2);

/// An attempt that has begun. Later ones are greater.
pub(super) type Ticket = u64;

/// Which attempt it is.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// The index of its test.
    pub(super) index: usize,
    pub(super) test: Arc<Test>,
    pub(super) number: u64,
}

/// What a test is known to use.
#[derive(Debug, Default)]
struct Known {
    recent: VecDeque<Arc<Claims>>,
    /// By what attempts at it were disturbed, or have disturbed others.
    met: Claims,
    /// None as long as no attempt has ended.
    wants: Option<Arc<Claims>>,
}

impl Known {
    fn learn(&mut self, claims: Arc<Claims>) {
        self.recent.push_back(claims);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let mut all = Claims::default();
        self.recent.iter().for_each(|claims| all.extend(claims));
        let uses = |thing: &Thing| self.recent.iter().filter(|claims| claims.of(thing).is_some()).count();
        let only = self.recent.len() == 1;
        let mut wants = all.filtered(|thing| only || uses(thing) > 1);
        wants.extend(&self.met);
        self.wants = Some(Arc::new(wants));
    }
}

/// An attempt that is under way, or has ended and may have been disturbed.
#[derive(Debug)]
struct Entry {
    who: Who,
    /// What it is expected to use, which is locked while it runs.
    wants: Option<Arc<Claims>>,
    /// What it has used, once it has ended; and the first ticket that did not have it beside it.
    ended: Option<(Arc<Claims>, Ticket)>,
    /// Those that ended since it began, and what they had used.
    beside: Vec<(Who, Arc<Claims>)>,
    /// Whether nothing was known of attempts of another campaign when it began, and when the last of those had begun.
    others_unknown: bool,
    time: Option<SystemTime>,
}

/// Who may have disturbed an attempt, and by what.
#[derive(Debug)]
pub(super) struct Disturber {
    pub(super) thing: Thing,
    /// None: an attempt of another campaign.
    pub(super) who: Option<Who>,
}

/// All that is known.
#[derive(Debug)]
pub(super) struct Ledger {
    /// By index of the test.
    tests: Vec<Known>,
    /// The serial group of each, if it is in one.
    groups: Vec<Option<String>>,
    attempts: BTreeMap<Ticket, Entry>,
    next: Ticket,
    /// An attempt is to be made alone.
    pub(super) alone: bool,
    /// Since when attempts have been kept waiting by another campaign, while none has begun.
    kept: Option<Instant>,
    told: bool,
    pub(super) registry: Registry,
}

impl Ledger {
    /// Nothing is known of the tests, of which these are the serial groups.
    pub(super) fn new(groups: Vec<Option<String>>, registry: Registry) -> Self {
        let tests = std::iter::repeat_with(Known::default).take(groups.len()).collect();
        Self {
            tests,
            groups,
            attempts: BTreeMap::new(),
            next: 0,
            alone: false,
            kept: None,
            told: false,
            registry,
        }
    }

    /// Whether an attempt at a test goes together with those of ours that are under way.
    pub(super) fn is_free(&self, test: usize) -> bool {
        let group = &self.groups[test];
        if group.is_some() && self.running().any(|entry| self.groups[entry.who.index] == *group) {
            return false;
        }
        let Some(wants) = &self.tests[test].wants else { return !self.alone };
        !self.alone && !self.running().any(|entry| self.conflict(entry, wants))
    }

    /// Whether these do not go with what an attempt is expected to use: when it began, or by now.
    fn conflict(&self, entry: &Entry, claims: &Claims) -> bool {
        let expected = [&entry.wants, &self.tests[entry.who.index].wants];
        expected.into_iter().flatten().any(|wants| wants.conflict(claims).is_some())
    }

    fn running(&self) -> impl Iterator<Item = &Entry> {
        self.attempts.values().filter(|entry| entry.ended.is_none())
    }

    /// Whether no attempt is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.running().next().is_none()
    }

    /// An attempt at a test begins, unless one of another campaign has what it wants.
    pub(super) fn begin(&mut self, who: Who) -> Result<Ticket, Taken> {
        let wants = self.tests[who.index].wants.clone();
        if let Err(taken) = self.registry.lock(wants.as_deref()) {
            let since = *self.kept.get_or_insert_with(Instant::now);
            if since.elapsed() > LONG && !std::mem::replace(&mut self.told, true) {
                self.registry.tell_of_wait(&taken);
            }
            return Err(taken);
        }
        self.kept = None;
        let (others_unknown, time) = (self.registry.others_are_unknown(), self.registry.time());
        let entry = Entry { who, wants, ended: None, beside: Vec::new(), others_unknown, time };
        self.next += 1;
        self.attempts.insert(self.next, entry);
        Ok(self.next)
    }

    /// It has ended.
    pub(super) fn end(&mut self, ticket: Ticket, claims: &Arc<Claims>) {
        let until = self.next + 1;
        let Some(entry) = self.attempts.get_mut(&ticket) else { return };
        entry.ended = Some((Arc::clone(claims), until));
        let (who, wants) = (entry.who.clone(), entry.wants.clone());
        // Whoever finds nothing unknown any more can see what it was.
        self.learn(who.index, claims);
        self.registry.unlock(wants.as_deref());
        if claims.is_empty() {
            return;
        }
        for (other, entry) in &mut self.attempts {
            if *other != ticket && entry.ended.as_ref().is_none_or(|(_, until)| ticket < *until) {
                entry.beside.push((who.clone(), Arc::clone(claims)));
            }
        }
    }

    /// An attempt at a test has used this.
    pub(super) fn learn(&mut self, test: usize, claims: &Arc<Claims>) {
        let known = &mut self.tests[test];
        known.learn(Arc::clone(claims));
        if let Some(wants) = &known.wants {
            self.registry.mark(wants);
        }
    }

    /// It does not count any more.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        if let Some(Entry { wants, ended: None, .. }) = self.attempts.remove(&ticket) {
            self.registry.unlock(wants.as_deref());
        }
    }

    /// Whether an attempt that has ended may have been disturbed: by one that was under way, as far as is known by now.
    pub(super) fn may_be_disturbed(&mut self, ticket: Ticket) -> bool {
        let Some(Entry { ended: Some((claims, _)), .. }) = self.attempts.get(&ticket) else { return false };
        let claims = Arc::clone(claims);
        // Who has used nothing is not kept from failing by those of whom nothing is known.
        let is_unknown = |entry: &Entry| !claims.is_empty() && self.tests[entry.who.index].wants.is_none();
        let others = self.running().any(|other| is_unknown(other) || self.conflict(other, &claims));
        others
            || self.may_have_looked(ticket)
            || !claims.is_empty() && self.others_are_unknown(ticket)
            || self.disturber(ticket, &claims).is_some()
    }

    /// Whether attempts at other tests beside this one have changed files that have the same name each time. Nobody sees who only
    /// looks at them.
    pub(super) fn may_have_looked(&self, ticket: Ticket) -> bool {
        let Some(entry) = self.attempts.get(&ticket) else { return false };
        let changes = |index: usize| {
            let wants = self.tests[index].wants.iter().filter(|_| index != entry.who.index);
            wants
                .flat_map(|wants| wants.iter())
                .any(|(thing, how)| how == Use::Changes && matches!(thing, Thing::Path(_)))
        };
        entry.beside.iter().any(|(who, _)| changes(who.index))
            || self.running().any(|other| changes(other.who.index))
    }

    /// Whether there have been attempts beside it of which another campaign did not know what they use; or some of ours.
    fn others_are_unknown(&mut self, ticket: Ticket) -> bool {
        let time = self.registry.time();
        self.registry.others_are_unknown()
            || self.attempts.get(&ticket).is_some_and(|entry| entry.others_unknown || entry.time != time)
    }

    /// Who has disturbed it if it has used this, as far as is known by now.
    pub(super) fn disturber(&mut self, ticket: Ticket, claims: &Claims) -> Option<Disturber> {
        let unknown = self.others_are_unknown(ticket);
        let entry = self.attempts.get(&ticket)?;
        for (who, theirs) in &entry.beside {
            if let Some(thing) = claims.conflict(theirs) {
                return Some(Disturber { thing: thing.clone(), who: Some(who.clone()) });
            }
        }
        // What it had locked was its own, but for those who did not know that they would use it.
        let locked = |thing: &Thing| {
            let wants = entry.wants.as_ref().and_then(|wants| wants.of(thing));
            !unknown && wants >= claims.of(thing)
        };
        let open = claims.filtered(|thing| !locked(thing));
        let thing = self.registry.marked_by_others(&open)?.clone();
        Some(Disturber { thing, who: None })
    }

    /// An attempt at a test has been disturbed: none is again, nor does one disturb others by the same thing.
    pub(super) fn remember(&mut self, test: usize, disturber: &Disturber) {
        for index in [Some(test), disturber.who.as_ref().map(|who| who.index)].into_iter().flatten() {
            let how = self.tests[index].recent.iter().filter_map(|claims| claims.of(&disturber.thing)).max();
            self.tests[index].met.add(disturber.thing.clone(), how.unwrap_or(Use::Looks));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::test::sample;

    fn ledger() -> Ledger {
        Ledger::new(vec![None; 2], Registry::default())
    }

    fn begin(ledger: &mut Ledger, test: usize) -> Ticket {
        let who = Who { index: test, test: Arc::new(sample()), number: 1 };
        ledger.begin(who).expect("nobody else is there")
    }

    fn port(port: u16) -> Arc<Claims> {
        let mut claims = Claims::default();
        claims.add(Thing::Tcp(port), Use::Changes);
        Arc::new(claims)
    }

    #[test]
    fn attempts_that_want_the_same_thing_are_not_made_side_by_side() {
        let mut ledger = ledger();
        for test in [0, 1] {
            let ticket = begin(&mut ledger, test);
            ledger.end(ticket, &port(80));
            ledger.forget(ticket);
        }
        let ticket = begin(&mut ledger, 0);
        assert!(!ledger.is_free(0) && !ledger.is_free(1));
        ledger.end(ticket, &port(80));
        assert!(ledger.is_free(0) && ledger.is_free(1));
    }

    #[test]
    fn tests_of_a_serial_group_are_not_run_side_by_side() {
        let group = |name: &str| Some(name.to_owned());
        let mut ledger = Ledger::new(vec![group("db"), group("db"), group("net"), None], Registry::default());
        let ticket = begin(&mut ledger, 0);
        let free = |ledger: &Ledger| [0, 1, 2, 3].map(|test| ledger.is_free(test));
        assert_eq!(free(&ledger), [false, false, true, true]);
        ledger.end(ticket, &Arc::default());
        assert_eq!(free(&ledger), [true; 4]);
    }

    #[test]
    fn what_an_attempt_uses_of_which_nothing_was_known_is_known_from_the_next() {
        let mut ledger = ledger();
        let [_slow, quick] = [(); 2].map(|()| begin(&mut ledger, 0));
        assert!(ledger.is_free(0), "nothing is known yet");
        ledger.end(quick, &port(80));
        assert!(!ledger.is_free(0), "the slow one will use it, too");
    }

    #[test]
    fn what_has_a_new_name_each_time_is_not_wanted_again() {
        let mut known = Known::default();
        known.learn(port(1));
        assert_eq!(known.wants, Some(port(1)), "nothing else is known");
        known.learn(port(2));
        assert_eq!(known.wants, Some(Arc::default()));
        known.learn(port(2));
        assert_eq!(known.wants, Some(port(2)));
        (3..11).for_each(|other| known.learn(port(other)));
        assert_eq!(known.wants, Some(Arc::default()), "it has not been used for long");
    }

    #[test]
    fn a_disturber_is_found_whichever_of_both_ends_first() {
        let mut ledger = ledger();
        let (one, other) = (begin(&mut ledger, 0), begin(&mut ledger, 1));
        ledger.end(one, &port(80));
        assert!(ledger.may_be_disturbed(one), "nothing is known of the other one");
        assert!(ledger.disturber(one, &port(80)).is_none());
        ledger.end(other, &port(80));
        for ticket in [one, other] {
            assert!(ledger.may_be_disturbed(ticket));
            let disturber = ledger.disturber(ticket, &port(80)).expect("the other one");
            assert_eq!(disturber.thing, Thing::Tcp(80));
        }
    }

    #[test]
    fn who_only_looked_at_a_file_is_disturbed_once() {
        let file = |how| {
            let mut claims = Claims::default();
            claims.add(Thing::Path("/tmp/a".into()), how);
            Arc::new(claims)
        };
        let mut ledger = ledger();
        let (reader, writer) = (begin(&mut ledger, 0), begin(&mut ledger, 1));
        ledger.end(writer, &file(Use::Changes));
        ledger.end(reader, &Arc::default());
        assert!(ledger.may_be_disturbed(reader) && ledger.disturber(reader, &Claims::default()).is_none());
        let again = file(Use::Looks);
        let disturber = ledger.disturber(reader, &again).expect("the writer");
        ledger.remember(0, &disturber);
        ledger.learn(0, &again);
        (0..RECENT).for_each(|_| ledger.learn(0, &Arc::default()));
        ledger.forget(writer);
        ledger.forget(reader);
        begin(&mut ledger, 1);
        assert!(!ledger.is_free(0));
    }

    #[test]
    fn who_began_later_or_used_something_else_has_disturbed_nobody() {
        let mut ledger = ledger();
        let (one, other) = (begin(&mut ledger, 0), begin(&mut ledger, 1));
        ledger.end(other, &port(81));
        ledger.end(one, &port(80));
        assert!(!ledger.may_be_disturbed(one));
        let later = begin(&mut ledger, 1);
        assert!(!ledger.may_be_disturbed(one), "it is known to use another port");
        ledger.end(later, &port(80));
        assert!(ledger.disturber(one, &port(80)).is_none());
        let nothing = begin(&mut ledger, 0);
        ledger.end(nothing, &Arc::default());
        assert!(!ledger.may_be_disturbed(nothing));
    }
}
