use std::sync::Barrier;

use super::*;

/// A section in which every worker takes part: none goes on before all have come.
fn together(pool: &Pool, body: &Body<'_>) {
    let all = Barrier::new(pool.threads());
    pool.drain(&|index| {
        all.wait();
        body(index);
    });
}

#[test]
fn every_index_comes_once_in_a_section() {
    for threads in [0, 1, 2, 3, 8] {
        let pool = Pool::new(threads).unwrap();
        assert_eq!(pool.threads(), threads.max(1));
        let counts: Vec<AtomicUsize> = (0..pool.threads()).map(|_| AtomicUsize::new(0)).collect();
        // With more workers than cores a section costs scheduler turns, so those get fewer.
        let sections = if threads > 2 { 100 } else { 2_000 };
        for _ in 0..sections {
            together(&pool, &|index| {
                counts[index].fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == sections));
    }
}

#[test]
fn sleeping_workers_wake_up() {
    let pool = Pool::new(3).unwrap();
    let count = AtomicUsize::new(0);
    for _ in 0..5 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        together(&pool, &|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
    assert_eq!(count.load(Ordering::Relaxed), 15);
}

#[test]
fn a_slow_worker_is_waited_for() {
    let pool = Pool::new(2).unwrap();
    let done = AtomicBool::new(false);
    together(&pool, &|index| {
        if index == 1 {
            std::thread::sleep(std::time::Duration::from_millis(50));
            done.store(true, Ordering::SeqCst);
        }
    });
    assert!(done.load(Ordering::SeqCst));
}

#[test]
fn drain_works_the_queue_off_and_its_late_workers_do_no_harm() {
    for threads in [1, 2, 3] {
        let pool = Pool::new(threads).unwrap();
        for _ in 0..500 {
            // The queue dies after each round, so a worker that came in late would read freed memory.
            let queue: Vec<AtomicUsize> = (0..7).map(|_| AtomicUsize::new(0)).collect();
            let next = AtomicUsize::new(0);
            pool.drain(&|_| {
                while let Some(item) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    item.fetch_add(1, Ordering::Relaxed);
                }
            });
            assert!(queue.iter().all(|item| item.load(Ordering::Relaxed) == 1));
        }
    }
}

#[test]
fn split_covers_everything_once_at_grain_boundaries() {
    for threads in 1..5 {
        let pool = Pool::new(threads).unwrap();
        for (items, grain) in [(0, 4), (1, 4), (4, 4), (5, 4), (64, 16), (100, 7), (100, 0), (3, 100)] {
            let mut hits = vec![0u8; items];
            let shared = SharedMut::new(&mut hits);
            pool.split(items, grain, &|part| {
                assert_eq!(part.start % grain.max(1), 0);
                assert!(part.end % grain.max(1) == 0 || part.end == items);
                // SAFETY: the parts of a split are disjoint, which the counts below would show.
                unsafe { shared.slice(part) }.iter_mut().for_each(|hit| *hit += 1);
            });
            assert!(hits.iter().all(|&hit| hit == 1), "{items} items, grain {grain}, {threads} threads");
        }
    }
}

#[test]
fn a_panic_in_any_worker_reaches_the_caller_and_the_pool_lives_on() {
    let pool = Pool::new(3).unwrap();
    for bad in 0..3 {
        let result = catch_unwind(AssertUnwindSafe(|| {
            together(&pool, &|index| assert!(index != bad, "worker {bad} fails"));
        }));
        let payload = result.unwrap_err();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), &format!("worker {bad} fails"));
        let count = AtomicUsize::new(0);
        together(&pool, &|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }
}

#[test]
fn nested_and_concurrent_sections_finish() {
    let pool = Pool::new(2).unwrap();
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    together(&pool, &|_| {
                        pool.drain(&|_| {
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                }
            });
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 3 * 200 * 2);
}
