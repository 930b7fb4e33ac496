//! When tokens arrive: a task of its own takes the time, so that reading a phase's end in between delays no time stamp.

use ledger::Micros;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::clock::TrialClock;
use crate::target::TokenStream;

/// How many tokens there are so far, and since when; or why there are no more.
type Arrival = Result<(u32, Micros), String>;

/// A stream that is read as fast as it comes. Dropping it hangs up.
#[derive(Debug)]
pub(super) struct Arrivals {
    receiver: UnboundedReceiver<Arrival>,
    reading: JoinHandle<()>,
}

impl Arrivals {
    /// Reads `stream` from now on.
    pub(super) fn of(stream: TokenStream, clock: TrialClock) -> Arrivals {
        let (sender, receiver) = unbounded_channel();
        Arrivals { receiver, reading: tokio::spawn(read(stream, clock, sender)) }
    }

    /// Waits for more tokens; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<(u32, Micros)>, String> {
        self.receiver.recv().await.transpose()
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(mut stream: TokenStream, clock: TrialClock, sender: UnboundedSender<Arrival>) {
    loop {
        let arrival = match stream.next().await {
            Ok(Some(tokens)) => Ok((tokens, clock.now())),
            Ok(None) => return,
            Err(error) => Err(error.to_string()),
        };
        let over = arrival.is_err();
        if sender.send(arrival).is_err() || over {
            return;
        }
    }
}
