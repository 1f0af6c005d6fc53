//! A set of small numbers.

/// Numbers that were seen, one bit each.
#[derive(Clone, Debug, Default)]
pub struct Seen(Vec<u64>);

impl Seen {
    /// Adds `number`; false where it was there.
    pub fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// How many of `wanted` are not in here.
    pub fn lacks(&self, wanted: &Self) -> u64 {
        let here = self.0.iter().copied().chain(std::iter::repeat(0));
        wanted.0.iter().zip(here).map(|(wanted, here)| u64::from((wanted & !here).count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lacking() {
        let (mut wanted, mut seen) = (Seen::default(), Seen::default());
        for number in [0, 63, 64, 1_000] {
            assert!(wanted.insert(number));
        }
        assert!(seen.insert(64) && seen.insert(5) && !seen.insert(5));
        assert_eq!(seen.lacks(&wanted), 3);
        assert_eq!(wanted.lacks(&seen), 1);
        assert_eq!(wanted.lacks(&wanted), 0);
    }
}
