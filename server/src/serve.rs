//! Binding, loading, signals, and the orderly end.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ledger::{Bytes, MemoryReport};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::batch;
use crate::clock;
use crate::connection::{self, Limits};
use crate::engine::TextEngine;
use crate::job::panic_message;
use crate::queue::Queue;
use crate::request::Served;
use crate::routes::{self, Shared};

/// After the signal to stop, this long is left to the running request and to open connections.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(1500);

/// How to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    /// Where to listen; with port 0 the system chooses one.
    pub address: SocketAddr,
    /// The name under which requests ask for the model.
    pub model_id: String,
    /// How many requests may wait beside the one that runs; further ones are told to come back.
    pub queue_limit: usize,
    /// The largest body of a request.
    pub body_limit: Bytes,
    /// How many connections are open at once; further ones wait to be accepted.
    pub connection_limit: usize,
    /// How long a client may take to send its headers, how long to send its body, and how long a connection may idle.
    pub read_timeout: Duration,
}

impl ServeOptions {
    /// The usual limits: 16 requests wait, bodies of 8 MiB, 64 connections, 30 seconds.
    pub fn new(address: SocketAddr, model_id: impl Into<String>) -> ServeOptions {
        ServeOptions {
            address,
            model_id: model_id.into(),
            queue_limit: 16,
            body_limit: Bytes::mib(8),
            connection_limit: 64,
            read_timeout: Duration::from_secs(30),
        }
    }
}

/// Answers `/v1/memory`, at any time and while a generation runs; `None` as long as there is nothing to report.
pub type MemoryHandle = Arc<dyn Fn() -> Option<MemoryReport> + Send + Sync>;

/// Why serving ended.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address or port")]
    Bind {
        /// The address of the options.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system refuses a thread, a signal handler or an event queue.
    #[error("cannot set up the server: {0}")]
    Setup(#[from] std::io::Error),
    /// The model cannot be loaded.
    #[error("cannot load the model: {0}")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Loading panicked.
    #[error("loading the model panicked: {message}")]
    LoadPanicked {
        /// The panic's message.
        message: String,
    },
}

/// Serves until SIGTERM or SIGINT, see [`serve_until`].
///
/// # Errors
/// As [`serve_until`].
pub fn serve<E>(
    options: ServeOptions,
    load: impl FnOnce() -> Result<Box<dyn TextEngine>, E> + Send + 'static,
    memory: MemoryHandle,
    on_listening: impl FnOnce(SocketAddr),
) -> Result<(), ServeError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stop = async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    };
    serve_until(options, load, memory, on_listening, stop)
}

/// Binds the address and calls `on_listening` with it, then loads the model on a thread of its own, and serves until
/// `stop` is ready. Then it accepts nothing more, refuses the requests that wait, cancels the one that runs, and returns
/// within two seconds; an engine that does not return by then is left behind for the end of the process.
///
/// # Errors
/// When the address cannot be bound, the model cannot be loaded, or the system refuses what a server needs.
pub fn serve_until<E>(
    options: ServeOptions,
    load: impl FnOnce() -> Result<Box<dyn TextEngine>, E> + Send + 'static,
    memory: MemoryHandle,
    on_listening: impl FnOnce(SocketAddr),
    stop: impl Future<Output = std::io::Result<()>>,
) -> Result<(), ServeError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let served = runtime.block_on(async {
        let bind = |source| ServeError::Bind { address: options.address, source };
        let listener = TcpListener::bind(options.address).await.map_err(bind)?;
        on_listening(listener.local_addr().map_err(bind)?);

        let shared = Arc::new(Shared {
            queue: Queue::new(options.queue_limit),
            options,
            served: OnceLock::new(),
            memory,
            started: clock::unix_seconds(),
            replies: AtomicU64::new(0),
        });
        let shutdown = Arc::new(AtomicBool::new(false));
        let mut engine_ended = start_engine(&shared, &shutdown, load)?;
        let (stop_sender, stop_receiver) = watch::channel(false);
        let limits = Limits {
            connections: shared.options.connection_limit,
            read_timeout: shared.options.read_timeout,
        };
        let router = routes::router(shared.clone());
        let accepting = tokio::spawn(connection::accept(listener, router, limits, stop_receiver));
        let mut engine_running = true;
        let result = tokio::select! {
            stopped = stop => stopped.map_err(ServeError::Setup),
            ended = &mut engine_ended => {
                engine_running = false;
                ended.unwrap_or(Ok(()))
            }
        };
        shutdown.store(true, Ordering::Relaxed);
        shared.queue.close();
        stop_sender.send_replace(true);
        let orderly = async {
            if engine_running {
                let _ = (&mut engine_ended).await;
            }
            let _ = accepting.await;
        };
        if tokio::time::timeout(SHUTDOWN_GRACE, orderly).await.is_err() {
            tracing::warn!("requests are still running {SHUTDOWN_GRACE:?} after the signal to stop");
        }
        result
    });
    // Connections that are left must not keep the process.
    runtime.shutdown_background();
    served
}

/// Starts the thread that loads the model and then runs requests. The receiver hears how it ended.
fn start_engine<E>(
    shared: &Arc<Shared>,
    shutdown: &Arc<AtomicBool>,
    load: impl FnOnce() -> Result<Box<dyn TextEngine>, E> + Send + 'static,
) -> Result<oneshot::Receiver<Result<(), ServeError>>, ServeError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (ended, engine_ended) = oneshot::channel();
    let (shared, shutdown) = (shared.clone(), shutdown.clone());
    std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        // Nothing that a panicking `load` leaves half done is used afterwards.
        let result = match catch_unwind(AssertUnwindSafe(load)) {
            Err(panic) => Err(ServeError::LoadPanicked { message: panic_message(panic.as_ref()).to_owned() }),
            Ok(Err(error)) => Err(ServeError::Load(error.into())),
            Ok(Ok(mut engine)) => {
                let served = Served::new(shared.options.model_id.clone(), engine.as_ref());
                shared.served.get_or_init(|| served);
                batch::run(engine.as_mut(), &shared.queue, &shutdown);
                Ok(())
            }
        };
        // Nobody listens once the grace period is over.
        let _ = ended.send(result);
    })?;
    Ok(engine_ended)
}
