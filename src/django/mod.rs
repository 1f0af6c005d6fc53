//! The move from Django: `discussions import-django` makes Django's rows ours.
//!
//! A mirror in the schema `django` keeps what Django said last, row by row. What differs from it is pending, and SQL functions merge
//! pending rows into our tables ([`mirror`]). So an import can be killed at any moment, repeated, and run again later: a merge touches
//! ours only where Django has changed something.
//!
//! Where Django shares the database, it can be followed: triggers merge each change in Django's own transaction ([`follow`]). And Django's
//! pages that count and list discussions read them from views ([`views`]).

pub mod follow;
pub mod import;
mod locks;
mod merge;
pub mod mirror;
mod progress;
mod report;
mod source;
mod staging;
mod tables;
pub mod views;
