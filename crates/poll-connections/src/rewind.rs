//! A stream whose first bytes were read already.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gives the bytes that were read already, and then those of the stream. Writes go to the stream.
pub struct Rewind<S> {
    read: Vec<u8>,
    /// How many of `read` the reader has got.
    position: usize,
    stream: S,
}

impl<S> Rewind<S> {
    /// Puts the bytes `read` in front of `stream`.
    pub fn new(read: Vec<u8>, stream: S) -> Self {
        Self { read, position: 0, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.read[self.position..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.position += count;
        if self.position == self.read.len() {
            // The connection may live for long: give the memory back.
            (self.read, self.position) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_come_once_and_in_order_whatever_the_reader_takes_at_a_time() {
        for step in 1..9 {
            let (mut client, server) = duplex(64);
            client.write_all(b" and the rest").await.unwrap();
            client.shutdown().await.unwrap();
            let (mut rewind, mut all) = (Rewind::new(b"the start".to_vec(), server), Vec::new());
            let mut part = vec![0; step];
            loop {
                let count = rewind.read(&mut part).await.unwrap();
                all.extend_from_slice(&part[..count]);
                if count == 0 {
                    break;
                }
            }
            assert_eq!(all, b"the start and the rest");
            rewind.write_all(b"answer").await.unwrap();
            let mut answer = [0; 6];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer");
        }
    }
}
