//! The life of one request's tries.
//!
//! ```text
//! Trying ──(outcome)──▶ done
//!   ▲  └──(retry)──▶ Waiting ──▶ Trying
//! ```
//!
//! Where tries may run beside one another the request is a `race` instead.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use mesh_core::engine::retry::{Outcome, RetryState, Verdict};
use mesh_core::state::Admission;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::super::overdue::overdue;
use super::Plan;
use super::race::Race;
use super::replay::{ReplayBody, Slot};
use crate::body::{Timer, Upload};
use crate::error::{BoxError, Error};

pub(super) type AttemptOf<P, B> = <P as Plan>::Attempt<ReplayBody<B>>;

pin_project! {
    /// The future of [`super::Retry`].
    pub struct ResponseFuture<S, P, B>
    where
        P: Plan,
        S: Service<AttemptOf<P, B>>,
    {
        service: S,
        plan: P,
        // `None` when there will be no second try, nor would one have been wanted.
        spare: Option<Box<Spare<B>>>,
        #[pin]
        state: State<S::Future, B>,
    }
}

/// What is kept of a request that its policy covers.
struct Spare<B> {
    /// `None` when no retry is left from the start: nothing is kept for one then.
    kept: Option<(request::Parts, Slot<B>)>,
    retries: RetryState,
    admission: Option<Admission>,
    timed_out: bool,
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B> {
        Racing {
            race: Box<Race<F, B>>,
        },
        Trying {
            #[pin]
            attempt: F,
            limit: Option<Timer>,
        },
        Waiting {
            sleep: Pin<Box<Sleep>>,
        },
        // The service must be ready again before the next try.
        Readying,
        Done,
    }
}

impl<S, P, B, RB> ResponseFuture<S, P, B>
where
    P: Plan,
    S: Service<AttemptOf<P, B>, Response = Response<RB>, Error = Error>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(mut service: S, head: request::Parts, body: B, mut plan: P) -> Self {
        let retries = plan.policy().and_then(|policy| policy.begin(&head.headers));
        let hedges = plan.per_try().is_some() && plan.hedges();
        if let Some(retries) = retries.filter(|_| hedges) {
            let race = Race::begin(&mut service, &mut plan, head, body, retries);
            return Self { service, plan, spare: None, state: State::Racing { race } };
        }
        // Without retries there is nothing that could run beside a try, and it may take as long as the whole.
        let mut watched = None;
        let (body, spare) = match retries {
            None => (ReplayBody::once(body), None),
            Some(retries) => {
                let (body, kept) = if retries.is_spent() {
                    (ReplayBody::once(body), None)
                } else {
                    plan.may_retry();
                    watched = upload(&plan);
                    let (body, slot) = ReplayBody::kept(body, plan.body_limit(), watched.clone());
                    (body, Some((head.clone(), slot)))
                };
                (body, Some(Box::new(Spare { kept, retries, admission: None, timed_out: false })))
            }
        };
        let limit = if hedges { None } else { limit(&plan, watched) };
        let attempt = service.call(plan.attempt(Request::from_parts(head, body)));
        Self { service, plan, spare, state: State::Trying { attempt, limit } }
    }
}

pub(super) fn limit(plan: &impl Plan, upload: Option<Upload>) -> Option<Timer> {
    plan.per_try().map(|limit| Timer::start(limit, upload))
}

/// What tells the timer of a try how far its body is: a caller who is still sending is not cut off.
pub(super) fn upload(plan: &impl Plan) -> Option<Upload> {
    plan.per_try().map(|_| Upload::default())
}

impl<S, P, B, RB> Future for ResponseFuture<S, P, B>
where
    P: Plan,
    S: Service<AttemptOf<P, B>, Response = Response<RB>, Error = Error>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<RB>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Racing { race } => {
                    let result = std::task::ready!(race.poll(this.service, this.plan, cx));
                    // Whoever has lost goes now.
                    this.state.set(State::Done);
                    return Poll::Ready(result);
                }
                StateProjection::Trying { attempt, limit } => {
                    let mut result = match attempt.poll(cx) {
                        Poll::Ready(result) => result,
                        Poll::Pending => {
                            let Some(limit) = limit else { return Poll::Pending };
                            std::task::ready!(limit.poll_expired(cx));
                            overdue(|| this.state.set(State::Done));
                            Err(Error::TryTimeout)
                        }
                    };
                    let Some(spare) = this.spare else {
                        this.state.set(State::Done);
                        return Poll::Ready(result);
                    };
                    match after(this.plan, spare, &mut result) {
                        None => {
                            // The end of a retry gives its place back, and a body that is no longer needed goes.
                            this.state.set(State::Done);
                            *this.spare = None;
                            return Poll::Ready(result);
                        }
                        Some(wait) => {
                            // The failed try goes first: its half of the body becomes free for the next one.
                            this.state.set(State::Done);
                            drop(result);
                            this.state.set(if wait.is_zero() {
                                State::Readying
                            } else {
                                State::Waiting { sleep: Box::pin(tokio::time::sleep(wait)) }
                            });
                        }
                    }
                }
                StateProjection::Waiting { sleep } => {
                    std::task::ready!(sleep.as_mut().poll(cx));
                    this.state.set(State::Readying);
                }
                StateProjection::Readying => {
                    std::task::ready!(this.service.poll_ready(cx))?;
                    let mut watch = None;
                    let mut timed_out = false;
                    let next = match this.spare.as_deref() {
                        Some(Spare { kept: Some((head, slot)), timed_out: before, .. }) => {
                            timed_out = *before;
                            let upload = || {
                                watch = upload(this.plan);
                                watch.clone()
                            };
                            std::task::ready!(slot.poll_again(cx, upload)).map(|body| (head.clone(), body))
                        }
                        _ => None,
                    };
                    let Some((head, body)) = next else {
                        this.state.set(State::Done);
                        return Poll::Ready(Err(Error::RequestBody("the body cannot be sent again".into())));
                    };
                    let limit = limit(this.plan, watch);
                    let attempt = this.service.call(this.plan.again(Request::from_parts(head, body), timed_out));
                    this.state.set(State::Trying { attempt, limit });
                }
                StateProjection::Done => return Poll::Pending,
            }
        }
    }
}

/// What follows a try: `None` makes its result the request's, else the time to wait.
fn after<P: Plan, B: Body<Data = Bytes>, RB>(
    plan: &mut P,
    spare: &mut Spare<B>,
    result: &mut Result<Response<RB>, Error>,
) -> Option<Duration> {
    // The place of the retry that has just ended.
    spare.admission = None;
    spare.timed_out = matches!(result, Err(Error::TryTimeout));
    let verdict = judge(plan, &mut spare.retries, &outcome_of(result)?);
    match verdict {
        Verdict::Finish => None,
        Verdict::Exhausted => {
            mark(result, Marked::Exhausted);
            None
        }
        Verdict::RetryAfter(wait) => {
            let (_, slot) = spare.kept.as_ref()?;
            if slot.is_spilled() {
                return None;
            }
            match plan.admit_retry() {
                Ok(admission) => slot.claim().then(|| {
                    spare.admission = admission;
                    wait
                }),
                Err(_) => {
                    mark(result, Marked::Overflow);
                    None
                }
            }
        }
    }
}

/// How a try ended, unless it failed in a way that no policy knows.
pub(super) fn outcome_of<RB>(result: &Result<Response<RB>, Error>) -> Option<Outcome<'_>> {
    Some(match result {
        Ok(response) => Outcome::Response { status: response.status(), headers: response.headers() },
        Err(Error::TryTimeout) => Outcome::TryTimeout,
        Err(error) => Outcome::Reset(error.reset()?),
    })
}

/// What the policy says after a try.
pub(super) fn judge<P: Plan>(plan: &mut P, retries: &mut RetryState, outcome: &Outcome<'_>) -> Verdict {
    let mut random = plan.random().fork();
    let Some(policy) = plan.policy() else { return Verdict::Finish };
    let since = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = if policy.reads_the_time() { since() } else { Duration::ZERO };
    policy.on_attempt(retries, outcome, &mut random, now)
}

/// How a response that was not retried is marked, for the flags it is reported with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// No retries were left (`URX`).
    Exhausted,
    /// A limit refused the retry (`UO`).
    Overflow,
}

pub(super) fn mark<RB>(result: &mut Result<Response<RB>, Error>, marked: Marked) {
    match result {
        Ok(response) => {
            response.extensions_mut().insert(marked);
        }
        Err(error) => {
            let last = Box::new(std::mem::replace(error, Error::TryTimeout));
            *error = match marked {
                Marked::Exhausted => Error::RetriesExhausted { last },
                Marked::Overflow => Error::RetryOverflow { last },
            };
        }
    }
}

impl<S, P, B> fmt::Debug for ResponseFuture<S, P, B>
where
    P: Plan,
    S: Service<AttemptOf<P, B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("attempts", &self.plan.attempts()).finish_non_exhaustive()
    }
}
