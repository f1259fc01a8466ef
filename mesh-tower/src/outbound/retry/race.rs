//! Tries beside one another (`hedge_on_per_try_timeout`): one that takes longer than its limit goes on while the next one
//! runs, and the first good answer is the request's.
//!
//! Envoy's rules: an answer that the policy would retry is not good while another try is under way or about to begin; so is
//! a try without an answer, whatever the policy covers. A try that took too long counts as retried: what comes of it later
//! spends no further retry. The losers are dropped with the race, and what they hold goes with them.
//!
//! ```text
//! try 1 ──limit──────────────────▶ goes on ───────┐
//!            └─back-off─▶ try 2 ──limit──▶ …      ├─▶ the first good one
//!                            └────(503)──▶ try 3 ─┘
//! ```

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use mesh_core::engine::retry::{RetryState, Verdict};
use mesh_core::state::Admission;
use tokio::time::Sleep;
use tower_service::Service;

use super::future::{AttemptOf, Marked, judge, limit, mark, outcome_of, upload};
use super::replay::ReplayBody;
use super::shared::SharedBody;
use super::{Plan, tell_attempts};
use crate::body::Timer;
use crate::error::{BoxError, Error};
use crate::outbound::overdue::overdue;

/// The tries of one request.
pub(super) struct Race<F, B> {
    tries: Vec<Try<F>>,
    head: request::Parts,
    body: SharedBody<B>,
    retries: RetryState,
    /// The place of the latest retry among the limits.
    admission: Option<Admission>,
    next: Next,
    /// What the request's flags say beside what comes of it.
    marked: Option<Marked>,
}

/// A try under way.
struct Try<F> {
    attempt: Pin<Box<F>>,
    /// `None` once it took too long: tries beside one another have a limit.
    limit: Option<Timer>,
    /// It took too long, and another one was begun for it.
    is_doubled: bool,
    number: u32,
}

/// The try that is about to begin.
enum Next {
    None,
    Waiting { sleep: Pin<Box<Sleep>>, timed_out: bool },
    // The service must be ready again.
    Readying { timed_out: bool },
}

impl<F, B> Race<F, B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Begins the first try.
    pub(super) fn begin<S, P>(
        service: &mut S,
        plan: &mut P,
        head: request::Parts,
        body: B,
        retries: RetryState,
    ) -> Box<Self>
    where
        P: Plan,
        S: Service<AttemptOf<P, B>, Future = F>,
    {
        plan.may_retry();
        let body = SharedBody::new(body, plan.body_limit());
        let mut this = Box::new(Self {
            tries: Vec::with_capacity(2),
            head,
            body,
            retries,
            admission: None,
            next: Next::None,
            marked: None,
        });
        this.start(service, plan, None);
        this
    }

    /// Starts a try; `again` tells whether it follows one that took too long.
    fn start<S, P>(&mut self, service: &mut S, plan: &mut P, again: Option<bool>)
    where
        P: Plan,
        S: Service<AttemptOf<P, B>, Future = F>,
    {
        let watch = upload(plan);
        // A body that cannot be sent again leaves the race to those who run.
        let Some((reading, number)) = self.body.reading(watch.clone()) else { return };
        let request = Request::from_parts(self.head.clone(), ReplayBody::shared(reading));
        let attempt = match again {
            None => plan.attempt(request),
            Some(timed_out) => plan.again(request, timed_out),
        };
        let limit = limit(plan, watch);
        self.tries.push(Try { attempt: Box::pin(service.call(attempt)), limit, is_doubled: false, number });
    }

    /// Runs until there is a good answer, or nobody left who could give one.
    pub(super) fn poll<S, P, RB>(
        &mut self,
        service: &mut S,
        plan: &mut P,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RB>, Error>>
    where
        P: Plan,
        S: Service<AttemptOf<P, B>, Response = Response<RB>, Error = Error, Future = F>,
        F: Future<Output = Result<Response<RB>, Error>>,
    {
        loop {
            if let Some(result) = self.poll_tries(plan, cx) {
                return Poll::Ready(self.finish(plan, result));
            }
            match &mut self.next {
                Next::None if self.tries.is_empty() => {
                    return Poll::Ready(Err(Error::RequestBody("the body cannot be sent again".into())));
                }
                Next::None => return Poll::Pending,
                Next::Waiting { sleep, timed_out } => {
                    std::task::ready!(sleep.as_mut().poll(cx));
                    self.next = Next::Readying { timed_out: *timed_out };
                }
                Next::Readying { timed_out } => {
                    let timed_out = *timed_out;
                    match std::task::ready!(service.poll_ready(cx)) {
                        Ok(()) => self.start(service, plan, Some(timed_out)),
                        Err(error) if self.tries.is_empty() => return Poll::Ready(Err(error)),
                        Err(_) => {}
                    }
                    self.next = Next::None;
                }
            }
        }
    }

    /// Looks at every try once; the result of the one that decides the race.
    fn poll_tries<P, RB>(&mut self, plan: &mut P, cx: &mut Context<'_>) -> Option<Result<Response<RB>, Error>>
    where
        P: Plan,
        F: Future<Output = Result<Response<RB>, Error>>,
    {
        let mut at = 0;
        while let Some(one) = self.tries.get_mut(at) {
            if let Poll::Ready(result) = one.attempt.as_mut().poll(cx) {
                let ended = self.remove(at);
                if let Some(result) = self.after(plan, ended.is_doubled, result) {
                    return Some(result);
                }
                continue;
            }
            if self.body.is_lost(one.number, cx) {
                self.remove(at);
                continue;
            }
            if one.limit.as_mut().is_some_and(|limit| limit.poll_expired(cx).is_ready()) {
                one.limit = None;
                let is_doubled = self.double(plan);
                if let Some(one) = self.tries.get_mut(at) {
                    one.is_doubled = is_doubled;
                }
            }
            at += 1;
        }
        None
    }

    fn remove(&mut self, at: usize) -> Try<F> {
        let ended = self.tries.remove(at);
        self.body.give_up(ended.number);
        ended
    }

    /// A try takes too long: whether another one is to begin for it.
    fn double<P: Plan>(&mut self, plan: &mut P) -> bool {
        let mut random = plan.random().fork();
        let Some(verdict) = plan.policy().map(|policy| policy.on_slow_try(&mut self.retries, &mut random)) else {
            return false;
        };
        match verdict {
            Verdict::RetryAfter(wait) => !self.body.is_spilled() && self.retry(plan, wait, true),
            Verdict::Exhausted => {
                self.marked = Some(Marked::Exhausted);
                false
            }
            Verdict::Finish => false,
        }
    }

    /// Takes a place among the limits for another try; whether there is one.
    fn retry<P: Plan>(&mut self, plan: &P, wait: Duration, timed_out: bool) -> bool {
        // The retry before, if any, gives its place to this one.
        self.admission = None;
        match plan.admit_retry() {
            Ok(admission) => {
                self.admission = admission;
                self.next = if wait.is_zero() {
                    Next::Readying { timed_out }
                } else {
                    Next::Waiting { sleep: Box::pin(tokio::time::sleep(wait)), timed_out }
                };
                true
            }
            Err(_) => {
                self.marked = Some(Marked::Overflow);
                false
            }
        }
    }

    /// What follows a try that has ended: its result, if that decides the race.
    fn after<P: Plan, RB>(
        &mut self,
        plan: &mut P,
        is_doubled: bool,
        result: Result<Response<RB>, Error>,
    ) -> Option<Result<Response<RB>, Error>> {
        let Some(outcome) = outcome_of(&result) else { return Some(result) };
        let is_bad = if is_doubled {
            plan.policy().is_some_and(|policy| policy.covers(&outcome))
        } else {
            match judge(plan, &mut self.retries, &outcome) {
                Verdict::Finish => false,
                Verdict::Exhausted => {
                    self.marked = Some(Marked::Exhausted);
                    true
                }
                Verdict::RetryAfter(_) if self.body.is_spilled() => false,
                Verdict::RetryAfter(wait) => {
                    if self.retry(plan, wait, false) {
                        return None;
                    }
                    true
                }
            }
        };
        let others = !self.tries.is_empty() || !matches!(self.next, Next::None);
        (!others || !(is_bad || result.is_err())).then_some(result)
    }

    fn finish<P: Plan, RB>(
        &mut self,
        plan: &P,
        mut result: Result<Response<RB>, Error>,
    ) -> Result<Response<RB>, Error> {
        // Who took too long and lost for it has failed; nothing is known of the others.
        let (slow, fast): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.tries).into_iter().partition(|one| one.limit.is_none());
        overdue(|| drop(slow));
        drop(fast);
        if let Some(marked) = self.marked.take() {
            mark(&mut result, marked);
        }
        if let Ok(response) = &mut result {
            tell_attempts(response, plan.attempts());
        }
        result
    }
}
