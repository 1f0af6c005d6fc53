//! Measures the hub's operations and how their cost grows. `cargo bench --bench hub` prints a table.
//!
//! There is no HTTP and no database. A parked poll is a task that waits for its outcome, as in the server.

#[path = "hub/fixture.rs"]
mod fixture;
#[path = "hub/measure.rs"]
mod measure;

use std::hint::black_box;

use fixture::HubFixture;
use measure::{nanoseconds, resident_bytes, row, title};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    title("One queue, one community");
    polls();
    title("Communities of a user (nothing new; one event; park and unpark)");
    communities();
    title("Events in the log (nothing new; all of them since the cursor, 500 an answer at the most)");
    events();
    title("Registered and not polling");
    idle_memory();
    title("Parked: one event to all, each parks again");
    fan_out();
    title("One event to 1,000 parked polls, while others' queues only exist");
    idle_neighbours();
}

fn polls() {
    let fixture = HubFixture::new(1);
    let queue = fixture.register(1, 1);
    row("append, nobody parked", nanoseconds(|| fixture.append(0)), "ns");
    let cursor = fixture.hub.head();
    row("poll, nothing new, timeout=0", nanoseconds(|| drop(black_box(fixture.poll(queue, cursor, false)))), "ns");
    row("poll, one new event", nanoseconds(|| drop(black_box(fixture.poll(queue, cursor.minus(1), true)))), "ns");
    row("park and unpark", nanoseconds(|| fixture.park_and_unpark(queue)), "ns");
    row("heartbeat", nanoseconds(|| fixture.heartbeat(queue)), "ns");
}

fn communities() {
    for count in [1, 10, 30, 100] {
        let fixture = HubFixture::new(count);
        let queue = fixture.register(1, count);
        fixture.append(count - 1);
        let cursor = fixture.hub.head();
        let nothing = nanoseconds(|| drop(black_box(fixture.poll(queue, cursor, false))));
        let one = nanoseconds(|| drop(black_box(fixture.poll(queue, cursor.minus(1), false))));
        let park = nanoseconds(|| fixture.park_and_unpark(queue));
        println!("{count:>8} communities {nothing:>28.0} ns {one:>10.0} ns {park:>10.0} ns");
    }
}

fn events() {
    for count in [10, 100, 500, 1_000] {
        let fixture = HubFixture::new(1);
        let queue = fixture.register(1, 1);
        let start = fixture.hub.head();
        (0..count).for_each(|_| fixture.append(0));
        let cursor = fixture.hub.head();
        let nothing = nanoseconds(|| drop(black_box(fixture.poll(queue, cursor, false))));
        let all = nanoseconds(|| drop(black_box(fixture.poll(queue, start, false))));
        println!("{count:>8} events {nothing:>33.0} ns {all:>10.0} ns");
    }
}

fn idle_memory() {
    for count in [1_000_u32, 10_000, 100_000] {
        let fixture = HubFixture::new(1);
        let before = resident_bytes();
        (1..=i64::from(count)).for_each(|user| _ = black_box(fixture.register(user, 1)));
        let bytes = (resident_bytes() - before) / f64::from(count);
        row(&format!("{count} queues of as many users"), bytes, "bytes each");
    }
}

fn fan_out() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    for count in [1_000, 10_000, 100_000] {
        runtime.block_on(async {
            let fixture = HubFixture::new(1);
            let before = resident_bytes();
            let parked = fixture.park_all(1, count, 1).await;
            let bytes = (resident_bytes() - before) / f64::from(count);
            let rounds = if count > 10_000 { 5 } else { 21 };
            let (append, all) = parked.rounds(&fixture, rounds).await;
            let after = (resident_bytes() - before) / f64::from(count);
            let each = all / f64::from(count) * 1e9;
            println!(
                "{count:>8} parked: append {:.2} ms, all have it and parked again {:.2} ms, {each:.0} ns each; {bytes:.0} bytes each, {after:.0} after the rounds",
                append * 1e3,
                all * 1e3
            );
        });
    }
}

fn idle_neighbours() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    for idle in [0, 1_000, 10_000, 100_000] {
        runtime.block_on(async {
            let fixture = HubFixture::new(2);
            (1_000_000..1_000_000 + idle).for_each(|user| _ = fixture.register_in(user, 1));
            let parked = fixture.park_all(1, 1_000, 1).await;
            let (append, all) = parked.rounds(&fixture, 51).await;
            println!("{idle:>8} idle queues: append {:.3} ms, all have it {:.3} ms", append * 1e3, all * 1e3);
        });
    }
}
