//! The pods of partitions, reduced to what decides whether a partition is ready and which pod may be replaced.

mod facts;
mod slim;
mod trouble;

pub(crate) use self::facts::{Ending, PodFacts, ordinal};
pub(crate) use self::slim::Pod;
#[cfg(test)]
pub(crate) use self::trouble::PodTrouble;
