//! The language of `x-up`: what an upstream does with the request that carries it.
//!
//! Instructions are separated by `;`. HTTP/1.1: `s=status`, `h=name:value`, `d=seconds` before anything else, `reset` (RST),
//! `close` (FIN), `garbage`, `partial`, `slowbody=seconds`, `seq=status,status` by try, `on=port` (for the others there is no
//! script). HTTP/2: `to=grpc-status` trailers-only, `tr=grpc-status` in trailers, `rst=code`, `goaway`, `conn`.

use std::time::Duration;

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// `s`.
    pub status: Option<u16>,
    /// `h`.
    pub headers: Vec<(String, String)>,
    /// `d`.
    pub delay: Option<Duration>,
    /// `slowbody`.
    pub slow_body: Option<Duration>,
    /// `seq`.
    pub sequence: Vec<u16>,
    /// Instead of a whole response.
    pub instead: Option<Instead>,
}

/// What comes instead of a whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// `reset`: TCP RST.
    Reset,
    /// `close` or `conn`: FIN.
    Close,
    /// `garbage`: bytes that are no HTTP.
    Garbage,
    /// `partial`: headers and a part of the body.
    Partial,
    /// `to`.
    TrailersOnly(u32),
    /// `tr`.
    Trailers(u32),
    /// `rst`.
    StreamReset(u32),
    /// `goaway`: the stream was not processed.
    GoAway,
}

impl Script {
    /// Reads a script for the upstream that stands for `port`.
    ///
    /// # Panics
    /// When there is an instruction that is not known.
    #[must_use]
    pub fn parse(text: &str, port: u16) -> Self {
        let mut script = Self::default();
        for instruction in text.split(';').filter(|one| !one.is_empty()) {
            let (name, value) = instruction.split_once('=').unwrap_or((instruction, ""));
            match name {
                "s" => script.status = Some(value.parse().unwrap()),
                "h" => {
                    let (name, value) = value.split_once(':').unwrap();
                    script.headers.push((name.to_owned(), value.to_owned()));
                }
                "d" => script.delay = Some(seconds(value)),
                "slowbody" => script.slow_body = Some(seconds(value)),
                "seq" => script.sequence = value.split(',').map(|status| status.parse().unwrap()).collect(),
                "on" if value.parse() != Ok(port) => return Self::default(),
                "on" => {}
                "reset" => script.instead = Some(Instead::Reset),
                "close" | "conn" => script.instead = Some(Instead::Close),
                "garbage" => script.instead = Some(Instead::Garbage),
                "partial" => script.instead = Some(Instead::Partial),
                "to" => script.instead = Some(Instead::TrailersOnly(value.parse().unwrap())),
                "tr" => script.instead = Some(Instead::Trailers(value.parse().unwrap())),
                "rst" => script.instead = Some(Instead::StreamReset(value.parse().unwrap())),
                "goaway" => script.instead = Some(Instead::GoAway),
                other => panic!("no upstream knows the instruction {other:?}"),
            }
        }
        script
    }

    /// The status of the try that `before` others went before.
    #[must_use]
    pub fn status(&self, before: usize) -> u16 {
        let in_turn = self.sequence.get(before).or(self.sequence.last());
        self.status.or(in_turn.copied()).unwrap_or(200)
    }
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs_f64(text.parse().unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_add_up_and_those_for_another_port_do_nothing() {
        let script = Script::parse("h=x-a:1;s=503;d=0.5;on=2", 2);
        assert_eq!(script.headers, [("x-a".to_owned(), "1".to_owned())]);
        assert_eq!((script.status(0), script.delay), (503, Some(Duration::from_millis(500))));
        assert_eq!(Script::parse("s=503;on=2", 3), Script::default());
    }

    #[test]
    fn a_sequence_gives_each_try_its_status_and_stays_with_the_last() {
        let script = Script::parse("seq=503,200", 1);
        assert_eq!([script.status(0), script.status(1), script.status(2)], [503, 200, 200]);
    }
}
