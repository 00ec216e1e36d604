//! Deliberate faults, by which the simulation's tests show that it would notice them (`tests/simulation/mutations.rs`).
//! A release build has none: [`is`] is `false` there before it is compiled.

use std::cell::Cell;

/// Something that the program would do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A message that comes back to us is passed on once more.
    CircleUnnoticed,
    /// The mark of a node stays where it is although the page that it belongs to is not stored.
    MarkMovedEarly,
    /// Rows that are here already are stored again.
    DoubledRowsAccepted,
    /// The last row of a token is not written.
    EndRowDropped,
    /// A message whose connection breaks counts as delivered.
    LossUnnoticed,
    /// Tokens that were open before a restart are forgotten.
    OpenTokensForgotten,
    /// A row that came by another way is stored again.
    OriginIgnored,
    /// What was lost is given up before a sync could have brought its rows.
    GivenUpEarly,
    /// Chunks of a copy go out without waiting for confirmations.
    BackPressureOff,
    /// What is not stored counts as stored.
    ReceiptIgnored,
    /// What a node announced stays a route when it announces it no more.
    RouteNotWithdrawn,
    /// A node forgets which tokens it has taken.
    TakenForgotten,
    /// Whoever queues a request does not notice that its node has taken it.
    TakenUnnoticed,
    /// A node that gives back a request does not say so.
    GivenBackSilently,
}

thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// From now on this thread runs with a fault, or with none.
pub fn set(fault: Option<Fault>) {
    FAULT.set(fault);
}

/// Whether this thread runs with a fault; never in a release build.
#[must_use]
pub fn is(fault: Fault) -> bool {
    cfg!(debug_assertions) && FAULT.get() == Some(fault)
}
