//! Runs tasks, such as loading programs, on as many threads as there are CPUs.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::{panic, thread};

/// Calls `work` with each of `items`, and returns the results in the order of the items.
///
/// The calling thread works, too, and works alone if no other thread can be started. The other threads, `loader`, have
/// its privileges and its network namespace. They end before this function returns.
///
/// The calling thread calls `is_stopped` before each of its tasks. If it returns true, no more tasks start, and the
/// result is `None`.
///
/// # Errors
///
/// The error for the first item that has one. After an error, no more tasks start.
pub fn run<I: Sync, T: Send, E: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T, E> + Sync,
    is_stopped: impl Fn() -> bool,
) -> Result<Option<Vec<T>>, E> {
    let next = AtomicUsize::new(0);
    let work_off = |is_stopped: &dyn Fn() -> bool| {
        let mut results = Vec::new();
        loop {
            // Tasks start in order, so every task before a failed one finishes.
            let index = next.fetch_add(1, SeqCst);
            let Some(item) = items.get(index) else { return results };
            if is_stopped() {
                break;
            }
            let result = work(item);
            let has_failed = result.is_err();
            results.push((index, result));
            if has_failed {
                break;
            }
        }
        next.store(items.len(), SeqCst);
        results
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(items.len());
    let mut results = thread::scope(|scope| {
        let start =
            |_| thread::Builder::new().name("loader".to_owned()).spawn_scoped(scope, || work_off(&|| false)).ok();
        let helpers: Vec<_> = (1..threads).filter_map(start).collect();
        let mut results = work_off(&is_stopped);
        for helper in helpers {
            results.extend(helper.join().unwrap_or_else(|payload| panic::resume_unwind(payload)));
        }
        results
    });
    results.sort_unstable_by_key(|&(index, _)| index);
    let results = results.into_iter().map(|(_, result)| result).collect::<Result<Vec<_>, _>>()?;
    Ok((results.len() == items.len()).then_some(results))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    const CONTINUES: fn() -> bool = || false;

    #[test]
    fn returns_the_results_in_order() {
        for count in [0, 1, 2, 100] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(run(&items, |&item| Ok::<_, ()>(item), CONTINUES), Ok(Some(items)));
        }
    }

    #[test]
    fn runs_a_task_on_each_cpu_at_once() {
        let cpus = thread::available_parallelism().unwrap().get();
        // The barrier blocks each task until all are running.
        let all = Barrier::new(cpus);
        let wait = |_: &()| Ok::<_, ()>(all.wait().is_leader());
        let leaders = run(&vec![(); cpus], wait, CONTINUES).unwrap().unwrap();
        assert_eq!(leaders.into_iter().filter(|is_leader| *is_leader).count(), 1);
    }

    #[test]
    fn returns_the_error_of_the_first_item() {
        let items: Vec<u64> = (0..1000).collect();
        let calls = AtomicUsize::new(0);
        let work = |&item: &u64| {
            calls.fetch_add(1, SeqCst);
            // The second task fails before the first one does.
            thread::sleep(Duration::from_millis(if item == 0 { 50 } else { 1 }));
            Err::<(), _>(item)
        };
        assert_eq!(run(&items, work, CONTINUES), Err(0));
        assert!(calls.into_inner() <= thread::available_parallelism().unwrap().get());
    }

    #[test]
    fn stops_between_tasks() {
        let is_first = Cell::new(true);
        let work = |_: &()| {
            thread::sleep(Duration::from_millis(1));
            Ok::<_, ()>(())
        };
        assert_eq!(run(&[(); 1000], work, || !is_first.replace(false)), Ok(None));
        assert_eq!(run(&[()], work, || true), Ok(None));
    }
}
