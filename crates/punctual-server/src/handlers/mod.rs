//! One function for each endpoint.

pub(crate) mod health;
mod jobs;
mod runs;
mod scheduler;
mod triggers;

use crate::app::{App, Asked};
use crate::problem::Answer;
use crate::route::Endpoint;

/// Does what is asked for.
pub(crate) async fn answer(app: &App, endpoint: Endpoint, asked: Asked<'_>) -> Answer {
    match endpoint {
        Endpoint::Scheduler => scheduler::show(app).await,
        Endpoint::PauseScheduler => scheduler::pause(app).await,
        Endpoint::ResumeScheduler => scheduler::resume(app).await,
        Endpoint::StartScheduler => scheduler::start(app),
        Endpoint::ShutdownScheduler => scheduler::shutdown(app, &asked).await,
        Endpoint::ListJobs => jobs::list(app, &asked).await,
        Endpoint::AddJob => jobs::add(app, &asked).await,
        Endpoint::GetJob(id) => jobs::show(app, &id).await,
        Endpoint::ModifyJob(id) => jobs::modify(app, &id, &asked).await,
        Endpoint::RemoveJob(id) => jobs::remove(app, &id).await,
        Endpoint::PauseJob(id) => jobs::pause(app, &id, &asked).await,
        Endpoint::ResumeJob(id) => jobs::resume(app, &id).await,
        Endpoint::RunJob(id) => jobs::run(app, &id).await,
        Endpoint::JobRuns(id) => runs::of_job(app, &id, &asked).await,
        Endpoint::ListRuns => runs::list(app, &asked).await,
        Endpoint::GetRun(id) => runs::show(app, &id).await,
        Endpoint::CancelRun(id) => runs::cancel(app, &id).await,
        Endpoint::NextFires => triggers::next(app, &asked),
    }
}
