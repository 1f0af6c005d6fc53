//! The move from Django: `discussions import-django` makes Django's rows ours.
//!
//! A mirror in the schema `django` keeps what Django said last, row by row. What differs from it is pending, and SQL functions merge
//! pending rows into our tables ([`mirror`]). So an import can be killed at any moment, repeated, and run again later: a merge touches
//! ours only where Django has changed something.

pub mod import;
mod merge;
pub mod mirror;
mod progress;
mod report;
mod source;
mod staging;
mod tables;
