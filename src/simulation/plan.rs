//! What a run is made of: chosen by its seed, or by whoever looks into one thing.

use super::random::Random;
pub use crate::mutation::Mutation;

/// What to run.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Plan {
    /// The defect to switch on.
    pub mutation: Option<Mutation>,
    /// Keep the trace as text.
    pub keep_trace: bool,
    /// Where and when to crash, in place of everything that is left to chance.
    pub crash: Option<Crash>,
}

impl Plan {
    /// Everything by the seed, no defect.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a defect.
    #[must_use]
    pub fn mutation(mut self, mutation: Mutation) -> Self {
        self.mutation = Some(mutation);
        self
    }

    /// With the trace as text.
    #[must_use]
    pub fn keep_trace(mut self) -> Self {
        self.keep_trace = true;
        self
    }

    /// A small story in which nothing goes wrong but one crash.
    #[must_use]
    pub fn crash(mut self, crash: Crash) -> Self {
        self.crash = Some(crash);
        self
    }
}

/// One crash.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Crash {
    /// Which peer: 0 is the authority, its targets follow.
    pub peer: usize,
    /// At which passage through the edge of its first process, from 1.
    pub at: u64,
}

impl Crash {
    /// A crash of this peer's first process at this passage.
    #[must_use]
    pub fn new(peer: usize, at: u64) -> Self {
        Self { peer, at }
    }
}

/// How much goes wrong by itself, in cases of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) state_fails: u64,
    pub(super) management_fails: u64,
    /// Of the failures of the management side, those that do not pass by themselves.
    pub(super) of_them_permanent: u64,
    pub(super) publish_fails: u64,
    pub(super) duplicates: u64,
    pub(super) reorders: u64,
    pub(super) slow: u64,
    pub(super) very_slow: u64,
}

/// What a target is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Decides about credentials of its own.
    Authority,
    /// Has a directory, so it signs its answers.
    Full,
    /// Cannot sign.
    ReceiveOnly,
    /// Receive-only, but given the secrets of the sources.
    Signing,
    /// A deployed peer of the Node package.
    Node,
}

/// What can go wrong at a moment of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Crash,
    CrashSoon,
    Pause,
    Restart,
    Connection,
    BrokerRestart,
    Alarm,
    QueueDeleted,
    QueueRefuses,
    QueueStalls,
    QueueForeign,
    StateDown,
    StateReadOnly,
    StateRefuses,
    StateLosesASecond,
    StateWiped,
    ManagementDown,
    ClockSteps,
}

const FAULTS: [Fault; 18] = [
    Fault::Crash,
    Fault::CrashSoon,
    Fault::Pause,
    Fault::Restart,
    Fault::Connection,
    Fault::BrokerRestart,
    Fault::Alarm,
    Fault::QueueDeleted,
    Fault::QueueRefuses,
    Fault::QueueStalls,
    Fault::QueueForeign,
    Fault::StateDown,
    Fault::StateReadOnly,
    Fault::StateRefuses,
    Fault::StateLosesASecond,
    Fault::StateWiped,
    Fault::ManagementDown,
    Fault::ClockSteps,
];

/// The mesh and the story of one run.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) targets: Vec<Kind>,
    /// Targets that hold only one track, by index.
    pub(super) one_track: Option<usize>,
    pub(super) authorities: usize,
    pub(super) replicas: bool,
    /// The management side ignores the revisions that it is given.
    pub(super) naive: bool,
    pub(super) hand_over_plain: bool,
    pub(super) credentials: usize,
    /// The first credential is decided about by two authorities.
    pub(super) shared: bool,
    pub(super) operations: u64,
    /// Most milliseconds between two operations.
    pub(super) spacing_ms: u64,
    /// How often each process of an authority syncs by itself; 0: never.
    pub(super) sync_every_ms: u64,
    /// Most milliseconds until a process that died starts again.
    pub(super) restart_ms: u64,
    pub(super) rates: Rates,
    pub(super) faults: Vec<Fault>,
    /// Most milliseconds between two faults.
    pub(super) fault_spacing_ms: u64,
    /// How far clocks are apart and step, in milliseconds.
    pub(super) clock_ms: u64,
    /// How far ahead a version may be; less than clocks are apart in a few runs.
    pub(super) most_ahead_ms: u64,
    pub(super) answer_ms: (u64, u64),
    /// How often each process looks whether its stores are still the same.
    pub(super) store_check_ms: u64,
    pub(super) page: usize,
    pub(super) prefetch: u16,
    /// Decides about every credential once more, when nothing goes wrong any more.
    pub(super) decide_at_the_end: bool,
}

const HOUR_MS: u64 = 3_600_000;

impl Shape {
    /// By the seed.
    pub(super) fn of(random: &mut Random) -> Self {
        let kinds = [Kind::Full, Kind::Full, Kind::ReceiveOnly, Kind::Signing, Kind::Node];
        let targets = (0..random.between(1, 4)).map(|_| *random.pick(&kinds)).collect::<Vec<_>>();
        let authorities = if random.chance(350) { 2 } else { 1 };
        let naive = authorities == 1 && random.chance(150);
        let clock_ms = *random.pick(&[0, 0, 50, 2_000, 60_000, HOUR_MS, HOUR_MS]);
        let stormy = random.chance(850);
        let rates = if stormy { Self::rates(random) } else { Rates::default() };
        let most = if stormy { random.between(0, 600) } else { 0 };
        let mut faults = random.some(&FAULTS, most);
        if naive {
            // Nothing but the library's own checks keeps such rows true, and those need the books.
            let hard = [Fault::StateLosesASecond, Fault::StateWiped];
            faults.retain(|fault| !hard.contains(fault));
        }
        let answer = random.between(1_000, 30_000);
        Self {
            one_track: random.chance(100).then_some(0),
            targets,
            authorities,
            replicas: !naive && random.chance(300),
            naive,
            hand_over_plain: random.chance(700),
            credentials: *random.pick(&[1, 1, 2, 3, 5]),
            shared: authorities == 2 && random.chance(800),
            operations: random.between(2, 14),
            spacing_ms: *random.pick(&[0, 5, 100, 2_000, 20_000]),
            sync_every_ms: *random.pick(&[0, 0, 30, 500, 5_000]),
            restart_ms: *random.pick(&[2, 500, 5_000, 40_000]),
            rates,
            faults,
            fault_spacing_ms: *random.pick(&[50, 500, 3_000, 10_000]),
            clock_ms,
            most_ahead_ms: if random.chance(60) { 300_000 } else { 3 * HOUR_MS },
            answer_ms: (answer, answer * random.between(1, 64)),
            store_check_ms: *random.pick(&[3_000, 20_000, 60_000]),
            page: *random.pick(&[1, 2, 3, 10, 1000]),
            prefetch: *random.pick(&[1, 2, 8, 256]),
            decide_at_the_end: random.chance(400),
        }
    }

    fn rates(random: &mut Random) -> Rates {
        Rates {
            state_fails: *random.pick(&[0, 0, 10, 60]),
            management_fails: *random.pick(&[0, 0, 10, 80]),
            of_them_permanent: *random.pick(&[0, 0, 300]),
            publish_fails: *random.pick(&[0, 0, 20, 100]),
            duplicates: *random.pick(&[0, 30, 200]),
            reorders: *random.pick(&[0, 30, 200]),
            slow: *random.pick(&[0, 20, 150]),
            very_slow: *random.pick(&[0, 0, 2, 10]),
        }
    }

    /// One authority, a target of each kind, and nothing that goes wrong.
    pub(super) fn calm() -> Self {
        Self {
            targets: vec![Kind::Full, Kind::ReceiveOnly, Kind::Node],
            one_track: None,
            authorities: 1,
            replicas: false,
            naive: false,
            hand_over_plain: true,
            credentials: 1,
            shared: false,
            operations: 0,
            spacing_ms: 0,
            sync_every_ms: 0,
            restart_ms: 1_000,
            rates: Rates::default(),
            faults: Vec::new(),
            fault_spacing_ms: 0,
            clock_ms: 0,
            most_ahead_ms: 300_000,
            answer_ms: (5_000, 60_000),
            // Once per process: each look is a point at which it can die, and no store is lost here.
            store_check_ms: 24 * HOUR_MS,
            page: 1000,
            prefetch: 8,
            decide_at_the_end: false,
        }
    }

    /// One authority, many targets that sign, and nothing that goes wrong.
    pub(super) fn large(targets: usize, credentials: usize) -> Self {
        Self {
            targets: vec![Kind::Signing; targets],
            credentials,
            // Nobody is so slow that it has to be asked again.
            answer_ms: (600_000, 600_000),
            prefetch: 256,
            ..Self::calm()
        }
    }

    /// Whether nothing goes wrong, nothing takes long, and all clocks agree.
    pub(super) fn is_quiet(&self) -> bool {
        self.clock_ms == 0 && self.faults.is_empty() && self.rates == Rates::default()
    }

    /// Whether a decision may be refused for the clocks alone.
    pub(super) fn clocks_may_refuse(&self) -> bool {
        self.most_ahead_ms < 3 * self.clock_ms
    }
}
