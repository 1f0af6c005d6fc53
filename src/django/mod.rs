//! The move from Django: `discussions django-views` makes views for the pages that stay at Django.

pub mod follow;
pub mod views;
