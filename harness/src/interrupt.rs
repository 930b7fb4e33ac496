//! Ctrl-C and SIGTERM. The first Ctrl-C lets the trial that runs come to its end; the second one, and SIGTERM, stop it; one more
//! ends this program where it stands.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What someone has asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// Nothing.
    #[default]
    None,
    /// No trial begins any more.
    AfterTrial,
    /// The trial that runs stops, too.
    Now,
}

/// Whether someone has asked this process to stop.
#[derive(Debug, Clone)]
pub struct Interrupt {
    asked: watch::Sender<Request>,
    groups: Arc<Mutex<Vec<u32>>>,
}

impl Interrupt {
    /// Listens for signals from now on, on a thread of its own, so that a busy program still hears them. `heard` is told what a
    /// signal was understood as, on that thread.
    pub fn listen(heard: impl Fn(Request) + Send + 'static) -> io::Result<Interrupt> {
        let asked = watch::Sender::new(Request::None);
        let sender = asked.clone();
        let groups = Arc::new(Mutex::new(Vec::new()));
        let interrupt = Interrupt { asked, groups: Arc::clone(&groups) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut ctrl_c, mut terminate) = {
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let asked = tokio::select! {
                        _ = ctrl_c.recv() => Request::AfterTrial,
                        _ = terminate.recv() => Request::Now,
                    };
                    let before = *sender.borrow();
                    let is_in_trial = !lock(&groups).is_empty();
                    let now = match before {
                        Request::None => asked,
                        Request::AfterTrial if is_in_trial => Request::Now,
                        // Outside of a trial nothing is lost, and what does not listen need not be waited for.
                        Request::AfterTrial | Request::Now => end_at_once(&groups),
                    };
                    heard(now);
                    sender.send_replace(now);
                }
            });
        })?;
        Ok(interrupt)
    }

    /// Nobody ever asks: for programs that handle signals themselves.
    pub fn never() -> Interrupt {
        Interrupt { asked: watch::Sender::new(Request::None), groups: Arc::default() }
    }

    /// True once someone has asked for anything.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow() > Request::None
    }

    /// True once someone has asked to stop the trial that runs.
    pub fn is_asked_now(&self) -> bool {
        *self.asked.borrow() == Request::Now
    }

    /// Whatever was asked has been done: the next Ctrl-C is a first one again.
    pub fn forget(&self) {
        self.asked.send_replace(Request::None);
    }

    /// Ends when someone asks to stop the trial that runs.
    pub async fn asked_now(&self) {
        if self.asked.subscribe().wait_for(|asked| *asked == Request::Now).await.is_err() {
            // The listener is gone, so nobody can ask any more.
            pending::<()>().await;
        }
    }

    /// Names the process groups that must not survive this program, those of the trial that runs; none where no trial runs.
    pub fn guard_groups(&self, leaders: &[u32]) {
        *lock(&self.groups) = leaders.to_vec();
    }
}

fn lock(groups: &Mutex<Vec<u32>>) -> std::sync::MutexGuard<'_, Vec<u32>> {
    // A list of numbers: no panic can leave it half changed.
    groups.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end_at_once(groups: &Mutex<Vec<u32>>) -> ! {
    for leader in lock(groups).iter().filter_map(|leader| Pid::from_raw(*leader as i32)) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
    std::process::exit(130);
}
