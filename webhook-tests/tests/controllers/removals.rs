//! removals
