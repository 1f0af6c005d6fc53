//! What stands in the text of each comment, for the reader to know it by.

use std::fmt;

/// Ends what is read; what follows makes the text as long as people's are.
const PADDING: &str = " Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore \
                       et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco.";

/// One comment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Which run wrote it: a queue may see what is left of another.
    pub run: u32,
    /// The community, counted from 0.
    pub community: u32,
    /// Its number among the comments of the community, from 0.
    pub number: u32,
    /// When its request began, in nanoseconds since the run's start.
    pub began: u64,
}

impl fmt::Display for Marker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "load {} {} {} {}{PADDING}", self.run, self.community, self.number, self.began)
    }
}

impl Marker {
    /// The marker of a text, if it has one.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix("load ")?.split(' ');
        Some(Self {
            run: words.next()?.parse().ok()?,
            community: words.next()?.parse().ok()?,
            number: words.next()?.parse().ok()?,
            began: words.next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let marker = Marker { run: 7, community: 3, number: 12, began: u64::MAX };
        assert_eq!(Marker::read(&marker.to_string()), Some(marker));
        for other in ["", "load", "load 1 2 3", "load 1 2 3 x", "Load 1 2 3 4", "load -1 2 3 4"] {
            assert_eq!(Marker::read(other), None, "{other}");
        }
    }
}
