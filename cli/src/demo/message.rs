//! What goes over a stream's socket.
//!
//! Owns the form of both messages, 16 bytes each. Uses `work` for what they are about. Server and client use it.

use std::io::{self, BufRead, Read};

use super::work::Job;

/// Bytes of a message.
pub const BYTES: usize = 16;

/// "Here is a buffer", and, with a checksum in the stream's place, "I have read it".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The buffer's handle.
    pub handle: u32,
    /// The stream's number from the server, the checksum from the client.
    pub word: u32,
    /// Which hand-over of the stream.
    pub number: u64,
}

impl Message {
    pub fn hand_over(handle: u32, job: Job) -> Message {
        Message {
            handle,
            word: job.stream,
            number: job.number,
        }
    }

    /// What the server asks to be done.
    pub fn job(self) -> Job {
        Job {
            stream: self.word,
            number: self.number,
        }
    }

    pub fn answer(self, sum: u32) -> Message {
        Message { word: sum, ..self }
    }

    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&self.handle.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.word.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; BYTES]) -> Message {
        let [a, b, c, d, e, f, g, h, number @ ..] = bytes;
        Message {
            handle: u32::from_le_bytes([a, b, c, d]),
            word: u32::from_le_bytes([e, f, g, h]),
            number: u64::from_le_bytes(number),
        }
    }

    /// The next message; `None` where the other side has closed its end. Waits for it.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Message>> {
        if from.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut bytes = [0; BYTES];
        from.read_exact(&mut bytes)?;
        Ok(Some(Message::from_bytes(bytes)))
    }

    /// The next message, and those that are there already.
    pub fn read_all<R: Read>(
        from: &mut io::BufReader<R>,
        into: &mut Vec<Message>,
    ) -> io::Result<()> {
        into.clear();
        while let Some(message) = Message::read(from)? {
            into.push(message);
            if from.buffer().len() < BYTES {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_as_itself_and_the_end_is_told() {
        let job = Job {
            stream: 3,
            number: 1 << 40,
        };
        let sent = [
            Message::hand_over(0x8000_0001, job),
            Message::hand_over(7, job).answer(u32::MAX),
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(|message| message.to_bytes()).collect();
        let mut reader = io::BufReader::new(&bytes[..]);
        let mut read = Vec::new();
        Message::read_all(&mut reader, &mut read).expect("they are whole");
        assert_eq!(read, sent);
        assert_eq!(read[0].job(), job);
        Message::read_all(&mut reader, &mut read).expect("the end");
        assert!(read.is_empty());
        let mut torn = io::BufReader::new(&bytes[..BYTES + 3]);
        assert!(Message::read_all(&mut torn, &mut read).is_ok() && read.len() == 1);
        assert!(
            Message::read_all(&mut torn, &mut read).is_err(),
            "it is torn"
        );
    }
}
