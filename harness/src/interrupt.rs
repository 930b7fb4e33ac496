//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether someone has asked this process to stop.
#[derive(Debug, Clone)]
pub struct Interrupt {
    asked: watch::Receiver<bool>,
    group: Arc<AtomicI32>,
}

impl Interrupt {
    /// Listens for signals from now on, on a thread of its own, so that a busy program still hears them.
    pub fn listen() -> io::Result<Interrupt> {
        let (sender, asked) = watch::channel(false);
        let group = Arc::new(AtomicI32::new(0));
        let interrupt = Interrupt { asked, group: Arc::clone(&group) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut ctrl_c, mut terminate) = {
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = ctrl_c.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if sender.send_replace(true) {
                        end_at_once(&group);
                    }
                }
            });
        })?;
        Ok(interrupt)
    }

    /// Nobody ever asks: for programs that handle signals themselves.
    pub fn never() -> Interrupt {
        Interrupt { asked: watch::channel(false).1, group: Arc::default() }
    }

    /// True once someone has asked.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Ends when someone asks.
    pub async fn asked(&self) {
        if self.asked.clone().wait_for(|asked| *asked).await.is_err() {
            // The listener is gone, so nobody can ask any more.
            pending::<()>().await;
        }
    }

    /// Names the process group that must not survive this program. 0: none.
    pub fn guard_group(&self, leader: u32) {
        self.group.store(leader as i32, Ordering::Release);
    }
}

fn end_at_once(group: &AtomicI32) {
    if let Some(leader) = Pid::from_raw(group.load(Ordering::Acquire)) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
    std::process::exit(130);
}
