//! The tag at the start of each comment's text. It tells a reader which comment it has got.

use std::fmt;

/// Follows the tag, so that the text is about as long as people's texts.
const PADDING: &str = " Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore \
                       et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco.";

/// Identifies one comment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageTag {
    /// The run that wrote it. A queue may also get comments of an earlier run.
    pub(crate) run: u32,
    /// The community, counted from 0.
    pub(crate) community: u32,
    /// Its number among the comments of the community, from 0.
    pub(crate) number: u32,
    /// When its request began, in nanoseconds since the run's start.
    pub(crate) began: u64,
}

impl fmt::Display for MessageTag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "load {} {} {} {}{PADDING}", self.run, self.community, self.number, self.began)
    }
}

impl MessageTag {
    /// The tag of a text, if it has one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
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
    fn what_is_written_is_parsed() {
        let tag = MessageTag { run: 7, community: 3, number: 12, began: u64::MAX };
        assert_eq!(MessageTag::parse(&tag.to_string()), Some(tag));
        for other in ["", "load", "load 1 2 3", "load 1 2 3 x", "Load 1 2 3 4", "load -1 2 3 4"] {
            assert_eq!(MessageTag::parse(other), None, "{other}");
        }
    }
}
