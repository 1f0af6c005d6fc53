//! Ends a connection whose client does not read what is written to it.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// How slowly a client may read. Connections share one of these.
pub struct WriteLimits {
    /// A client that takes nothing for this long is cut off.
    pub timeout: Duration,
    /// A client that takes less is cut off too, `timeout` after it fell behind. So nobody can hold an answer for long by
    /// taking a byte now and then.
    pub bytes_per_second: u32,
    /// Called for each client that is cut off.
    pub on_timeout: fn(),
}

/// A stream with a time limit for writing. A write fails with [`io::ErrorKind::TimedOut`] once the limit has passed.
///
/// While the stream takes all that is written, this costs two words and no timer.
#[derive(Debug)]
pub struct WriteTimeout<S> {
    stream: S,
    limits: Arc<WriteLimits>,
    /// Set when a write has to wait, and cleared when everything is written.
    stall: Option<Box<Stall>>,
}

#[derive(Debug)]
struct Stall {
    timer: Pin<Box<Sleep>>,
    since: Instant,
    /// The bytes that the stream has taken since then.
    taken: u64,
}

impl fmt::Debug for WriteLimits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}, {} B/s", self.timeout, self.bytes_per_second)
    }
}

impl<S> WriteTimeout<S> {
    /// Puts a time limit on the writes to `stream`.
    pub fn new(stream: S, limits: Arc<WriteLimits>) -> Self {
        Self { stream, limits, stall: None }
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream, without the limit.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Returns the result of a write, or an error if the time limit has passed.
    fn watch(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match (&written, &mut self.stall) {
            (Poll::Ready(Ok(count)), Some(stall)) => stall.proceed(*count, &self.limits),
            (Poll::Ready(_), _) => {}
            (Poll::Pending, stall) => {
                ready!(stall.get_or_insert_with(|| Stall::new(&self.limits)).timer.as_mut().poll(context));
                (self.limits.on_timeout)();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        written
    }
}

impl Stall {
    fn new(limits: &WriteLimits) -> Box<Self> {
        let since = Instant::now();
        Box::new(Self { timer: Box::pin(sleep_until(since + limits.timeout)), since, taken: 0 })
    }

    /// Gives the client more time for each byte that it takes, but never more than `timeout` from now on.
    fn proceed(&mut self, count: usize, limits: &WriteLimits) {
        self.taken += count as u64;
        let now = Instant::now();
        let milliseconds = self.taken.saturating_mul(1_000) / u64::from(limits.bytes_per_second.max(1));
        let fell_behind = self.since.checked_add(Duration::from_millis(milliseconds)).map_or(now, |then| then.min(now));
        self.timer.as_mut().reset(fell_behind + limits.timeout);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Writers flush when they have written all they have, so nothing is stalled any more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.stall = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        task::JoinHandle,
        time::sleep,
    };

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);
    const RATE: u32 = 100;
    static CUT_OFF: AtomicUsize = AtomicUsize::new(0);

    /// A client, and a task that writes so many bytes to it.
    fn start(bytes: usize) -> (DuplexStream, JoinHandle<io::Result<()>>) {
        let (client, server) = duplex(100);
        let on_timeout = || _ = CUT_OFF.fetch_add(1, Ordering::SeqCst);
        let limits = WriteLimits { timeout: TIMEOUT, bytes_per_second: RATE, on_timeout };
        let mut server = WriteTimeout::new(server, Arc::new(limits));
        let writer = tokio::spawn(async move {
            server.write_all(&vec![b'x'; bytes]).await?;
            server.flush().await?;
            assert!(server.stall.is_none());
            Ok(())
        });
        (client, writer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let (start_time, (client, writer)) = (Instant::now(), start(1_000));
        assert_eq!(writer.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start_time.elapsed().as_secs(), TIMEOUT.as_secs());
        assert!(CUT_OFF.load(Ordering::SeqCst) > 0);
        drop(client);

        // A client that was quick and then stops reading gets no more time than others.
        let (mut client, writer) = start(1_000_000);
        client.read_exact(&mut vec![0; 500_000]).await.unwrap();
        let stopped = Instant::now();
        assert!(writer.await.unwrap().is_err());
        assert_eq!(stopped.elapsed().as_secs(), TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_everything_and_a_trickling_one_does_not() {
        for (bytes_per_second, is_served) in [(RATE as usize, true), (RATE as usize / 2, false)] {
            let (mut client, writer) = start(100 * RATE as usize);
            let mut part = vec![0; 5 * bytes_per_second];
            let pause = async || sleep(Duration::from_secs(5)).await;
            pause().await;
            while client.read_exact(&mut part).await.is_ok() && !writer.is_finished() {
                pause().await;
            }
            assert_eq!(writer.await.unwrap().is_ok(), is_served, "{bytes_per_second} B/s");
        }
    }
}
