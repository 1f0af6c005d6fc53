//! How long queues live (I6).

use super::*;

#[tokio::test(start_paused = true)]
async fn a_queue_without_heartbeats_is_gone_after_120_s_although_it_is_polled() {
    let hub = hub();
    let start = Instant::now();
    let expiry =
        tokio::spawn(realtime::expire(Arc::clone(&hub), Arc::new(Registry::local()), CancellationToken::new()));
    let polled = register(&hub, 1, &member_of(&[7]), start);
    let waiting = register(&hub, 2, &member_of(&[7]), start);
    let active = register(&hub, 3, &member_of(&[7]), start);
    let parked = parked(&hub, waiting, 2, 0, start);
    for _ in 0..11 {
        tokio::time::advance(Duration::from_secs(10)).await;
        answered(&hub, polled, 1, 0, Instant::now());
    }
    assert!(hub.heartbeat(active, 3, Instant::now()).is_some());
    tokio::time::sleep_until(start + Duration::from_millis(119_990)).await;
    answered(&hub, polled, 1, 0, Instant::now());
    assert_eq!(hub.stats().queues, 3);

    assert!(matches!(parked.await, ParkedOutcome::Gone));
    let lived = start.elapsed();
    assert!(lived >= TTL && lived <= TTL + Duration::from_secs(5), "{lived:?}");
    let stats = hub.stats();
    assert_eq!((stats.queues, stats.users, stats.parked), (1, 1, 0));
    assert!(matches!(hub.poll(polled, 1, &Scope::default(), 0, true, Instant::now()), PollOutcome::NotFound));
    assert!(hub.heartbeat(polled, 1, Instant::now()).is_none());
    answered(&hub, active, 3, 0, Instant::now());
    expiry.abort();
}

#[test]
fn a_queue_whose_time_is_up_is_not_served_even_before_it_is_removed() {
    let hub = hub();
    let start = Instant::now();
    let queue = register(&hub, 1, &member_of(&[7]), start);
    assert!(hub.heartbeat(queue, 1, start + TTL).is_none());
    assert!(matches!(hub.poll(queue, 1, &Scope::default(), 0, true, start + TTL), PollOutcome::NotFound));
    assert!(hub.heartbeat(queue, 1, start + TTL - Duration::from_millis(1)).is_some());
}

#[test]
fn the_memory_of_expired_queues_is_freed() {
    // This test runs in its own process, because it would also measure the memory of other tests.
    if std::env::var_os("HUB_TEST_ALONE").is_none() {
        let name = "hub::expiry::the_memory_of_expired_queues_is_freed";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("HUB_TEST_ALONE", "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
        return;
    }
    let resident_kib = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
    };
    let hub = hub();
    let mut now = Instant::now();
    let mut user = 0;
    let mut after_warming_up = 0;
    for round in 0..200 {
        let mut polls = Vec::new();
        for _ in 0..1_000 {
            user += 1;
            let queue = register(&hub, user, &member_of(&[user % 5, user % 7, user % 11]), now);
            polls.push(parked(&hub, queue, user, 0, now));
        }
        assert_eq!(hub.stats().parked, 1_000);
        now += TTL;
        for queue in hub.expired(now) {
            assert!(hub.drop_expired(queue, now));
        }
        assert!(polls.iter_mut().all(|parked| matches!(outcome(parked), Some(ParkedOutcome::Gone))));
        assert_eq!(hub.stats(), discussions::realtime::hub::Stats::default());
        // After these rounds the allocator has all the memory that it needs.
        if round == 49 {
            after_warming_up = resident_kib();
        }
    }
    // The later rounds have 150,000 queues. If 40 bytes of each were kept, that would be 5.7 MiB.
    let grown = resident_kib().saturating_sub(after_warming_up);
    assert!(grown < 3_072, "{grown} KiB more");
}
