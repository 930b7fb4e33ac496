//! The accept loop: a limited number of connections, each with a deadline for its headers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Pause after a failed `accept`, which usually means that no descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a client may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections that are open at once.
    pub(crate) connections: usize,
    /// Time for the headers of a request, and between two requests.
    pub(crate) read_timeout: Duration,
}

/// Returns once the server stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves connections until `stop` says so; returns once no connection is left.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (open, _) = watch::channel(());
    let mut own_stop = stop.clone();
    let mut stopping = pin!(stopped(&mut own_stop));
    loop {
        // Beyond the limit, connections wait in the listener's backlog.
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            next = next => next,
            () = &mut stopping => break,
        };
        match accepted {
            Ok((socket, _)) => {
                let connection = serve_connection(socket, router.clone(), limits.read_timeout, stop.clone());
                let open = open.subscribe();
                tokio::spawn(async move {
                    connection.await;
                    drop((slot, open));
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, router));
    open.closed().await;
}

/// One connection, with as many requests as the client sends over it.
async fn serve_connection(
    socket: TcpStream,
    router: Router,
    header_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) {
    // Each token is a small packet of its own.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY: {error}");
    }
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_timeout);
    let connection = builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("connection ended: {error}");
    }
}
