//! When tokens arrive: a task of its own takes the time, so that reading a phase's end in between delays no time stamp.

use ledger::Micros;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::clock::TrialClock;
use crate::record::Speculation;
use crate::target::TokenStream;

/// One look at a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// How many tokens there are so far.
    pub(super) tokens: u32,
    /// Since when.
    pub(super) at: Micros,
    /// What drafting came to so far.
    pub(super) speculation: Option<Speculation>,
}

/// A stream that is read as fast as it comes. Dropping it hangs up.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// Why there are no more is the last thing to come.
    receiver: UnboundedReceiver<Result<Arrival, String>>,
    reading: JoinHandle<()>,
}

impl Arrivals {
    /// Reads `stream` from now on.
    pub(super) fn of(stream: TokenStream, clock: TrialClock) -> Arrivals {
        let (sender, receiver) = unbounded_channel();
        Arrivals { receiver, reading: tokio::spawn(read(stream, clock, sender)) }
    }

    /// Waits for more tokens; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Arrival>, String> {
        self.receiver.recv().await.transpose()
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(mut stream: TokenStream, clock: TrialClock, sender: UnboundedSender<Result<Arrival, String>>) {
    loop {
        let arrival = match stream.next().await {
            Ok(Some(tokens)) => Ok(Arrival { tokens, at: clock.now(), speculation: stream.speculation() }),
            Ok(None) => return,
            Err(error) => Err(error.to_string()),
        };
        let over = arrival.is_err();
        if sender.send(arrival).is_err() || over {
            return;
        }
    }
}
