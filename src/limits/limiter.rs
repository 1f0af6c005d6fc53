//! A limit on how often each key may do something. `governor` counts, by the generic cell rate algorithm. The memory is bounded.

use std::{hash::Hash, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};
use quick_cache::sync::Cache;

/// How many keys a limit remembers. A forgotten key starts with a full burst. The cache forgets keys that came once before it
/// forgets keys that come often.
const KEYS: usize = 65_536;

/// A limit for each key: a number a minute, a third of it at once.
pub(super) struct Limiter<K: Eq + Hash + Clone, C: Clock = MonotonicClock>(Option<Inner<K, C>>);

struct Inner<K: Eq + Hash + Clone, C: Clock> {
    per_minute: u32,
    limiter: RateLimiter<K, BoundedStore<K>, C, NoOpMiddleware<C::Instant>>,
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    /// `per_minute` 0 is no limit.
    pub(super) fn new(per_minute: u32) -> Self {
        Self::with_clock(per_minute, MonotonicClock)
    }
}

impl<K: Eq + Hash + Clone, C: Clock> Limiter<K, C> {
    fn with_clock(per_minute: u32, clock: C) -> Self {
        Self(NonZeroU32::new(per_minute).map(|rate| {
            let burst = NonZeroU32::new(per_minute / 3).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::per_minute(rate).allow_burst(burst);
            Inner { per_minute, limiter: RateLimiter::new(quota, BoundedStore(Cache::new(KEYS)), clock) }
        }))
    }

    /// The number a minute; 0 is no limit.
    pub(super) fn per_minute(&self) -> u32 {
        self.0.as_ref().map_or(0, |inner| inner.per_minute)
    }

    /// Counts one action of `key`. An action over the limit does not count, and the error is how long to wait.
    pub(super) fn check(&self, key: &K) -> Result<(), Duration> {
        let Some(Inner { limiter, .. }) = &self.0 else { return Ok(()) };
        limiter.check_key(key).map_err(|until| until.wait_time_from(limiter.clock().now()))
    }
}

/// The state of each key.
struct BoundedStore<K>(Cache<K, Arc<InMemoryState>>);

impl<K: Eq + Hash + Clone> StateStore for BoundedStore<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let state = match self.0.get(key) {
            Some(state) => state,
            // Two requests of one key at once get the same state.
            None => match self.0.get_or_insert_with(key, || Ok::<_, std::convert::Infallible>(Arc::default())) {
                Ok(state) => state,
            },
        };
        state.measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_third_of_a_minutes_number_at_once_and_the_rest_as_time_goes() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::with_clock(60, clock.clone());
        for _ in 0..20 {
            assert_eq!(limiter.check(&"ada"), Ok(()));
        }
        assert_eq!(limiter.check(&"ada"), Err(seconds(1)));
        assert_eq!(limiter.check(&"grace"), Ok(()), "each key counts for itself");
        clock.advance(Duration::from_millis(250));
        // Refusals do not count: the wait only becomes shorter.
        assert_eq!(limiter.check(&"ada"), Err(Duration::from_millis(750)));
        clock.advance(Duration::from_millis(750));
        assert_eq!(limiter.check(&"ada"), Ok(()));
        assert_eq!(limiter.check(&"ada"), Err(seconds(1)));
        // In any minute no more than the number and the burst.
        let accepted = (0..600)
            .filter(|_| {
                clock.advance(Duration::from_millis(100));
                limiter.check(&"ada").is_ok()
            })
            .count();
        assert_eq!(accepted, 60);
        clock.advance(seconds(3_600));
        assert_eq!((0..100).filter(|_| limiter.check(&"ada").is_ok()).count(), 20, "rest gives one burst, not more");
    }

    #[test]
    fn small_numbers_let_one_through_and_nought_all() {
        let clock = FakeRelativeClock::default();
        for per_minute in [1, 2, 3] {
            let limiter = Limiter::with_clock(per_minute, clock.clone());
            assert_eq!(limiter.check(&1), Ok(()));
            assert_eq!(limiter.check(&1), Err(seconds(60 / u64::from(per_minute))));
        }
        let none = Limiter::with_clock(0, clock);
        assert!((0..10_000).all(|_| none.check(&1).is_ok()));
    }

    #[test]
    fn the_memory_is_bounded_and_who_comes_often_is_not_forgotten() {
        let limiter = Limiter::with_clock(3, FakeRelativeClock::default());
        assert_eq!(limiter.check(&0), Ok(()));
        for stranger in 1..=4 * KEYS as u64 {
            assert_eq!(limiter.check(&stranger), Ok(()));
            if stranger % 1_000 == 0 {
                assert!(limiter.check(&0).is_err(), "after {stranger}");
            }
        }
        let store = limiter.0.unwrap().limiter.into_state_store();
        assert!(store.0.len() <= KEYS, "{} keys", store.0.len());
    }
}
