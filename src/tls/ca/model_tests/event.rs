//! What can happen in the model.

use proptest::prelude::*;

use super::REPLICAS;

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A replica sees the latest Secret, or the version after the one that it knows, and reacts.
    Sees { replica: usize, latest: bool },
    /// A replica reacts to what it knows, which may be old.
    Reacts(usize),
    /// The same, and if it writes, it gets no answer.
    ReactsUnanswered(usize),
    /// A replica looks at the bundle, or writes by what it knows of it.
    Keeps { replica: usize, looks: bool },
    /// Time passes, in which every replica but the lagging one sees everything and reacts.
    Passes { seconds: u64, lagging: Option<usize> },
    /// A replica dies, or starts if it is dead.
    Restarts(usize),
    /// Another replica leads. The one that did may not know yet.
    Leads { replica: usize, alone: bool },
    /// The clocks of all are set.
    Jumps { ahead: bool },
    /// The clock of a replica is set: so many hours ahead of the API servers', or behind.
    Skews { replica: usize, hours: i8 },
    /// An administrator requests a rotation.
    Rotates,
    /// An administrator requests that nothing is trusted any more that was signed until now.
    Revokes,
    /// The Secret is spoilt.
    Spoils(Spoil),
    /// The bundle is spoilt.
    SpoilsBundle(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub enum Spoil {
    Emptied,
    Garbled,
    KeyLost,
    Expired,
    /// An earlier state comes from a backup: so many writes back.
    Restored(usize),
    Deleted,
}

pub fn event() -> impl Strategy<Value = Event> {
    let replica = 0..REPLICAS;
    let spoil = prop_oneof![
        Just(Spoil::Emptied),
        Just(Spoil::Garbled),
        Just(Spoil::KeyLost),
        Just(Spoil::Expired),
        (1_usize..9).prop_map(Spoil::Restored),
        Just(Spoil::Deleted)
    ];
    prop_oneof![
        6 => (replica.clone(), any::<bool>()).prop_map(|(replica, latest)| Event::Sees { replica, latest }),
        6 => replica.clone().prop_map(Event::Reacts),
        1 => replica.clone().prop_map(Event::ReactsUnanswered),
        6 => (replica.clone(), any::<bool>()).prop_map(|(replica, looks)| Event::Keeps { replica, looks }),
        8 => (1_u64..90, prop::option::weighted(0.3, replica.clone()))
            .prop_map(|(seconds, lagging)| Event::Passes { seconds, lagging }),
        2 => replica.clone().prop_map(Event::Restarts),
        3 => (replica.clone(), any::<bool>()).prop_map(|(replica, alone)| Event::Leads { replica, alone }),
        1 => (replica, -6_i8..=6).prop_map(|(replica, hours)| Event::Skews { replica, hours }),
        1 => any::<bool>().prop_map(|ahead| Event::Jumps { ahead }),
        3 => Just(Event::Rotates),
        1 => Just(Event::Revokes),
        1 => spoil.prop_map(Event::Spoils),
        1 => prop_oneof![Just(""), Just("garbage")].prop_map(Event::SpoilsBundle),
    ]
}
