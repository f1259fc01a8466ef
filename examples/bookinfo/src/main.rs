//! The `bookinfo` command: starts the shop, makes traffic, shows what happens.

use std::process::ExitCode;

use bookinfo::args::{Args, Check};
use bookinfo::report::Verdict;
use bookinfo::{Bookinfo, BoxError, Folder, check, demo};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(error) => {
            let mut at: Option<&dyn std::error::Error> = Some(&*error);
            while let Some(error) = at {
                eprintln!("bookinfo: {error}");
                at = error.source();
            }
            ExitCode::from(2)
        }
    }
}

async fn run(args: &Args) -> Result<Verdict, BoxError> {
    let folder = match &args.mesh_dir {
        Some(path) => Folder::at(path)?,
        None => Folder::temporary()?,
    };
    let bookinfo = Bookinfo::start(folder, args.base_port).await?;
    match args.check {
        None => demo::run(bookinfo, args).await,
        Some(Check::Splits) => {
            let proof = check::splits(&bookinfo, &check::Splits::default()).await;
            bookinfo.stop().await;
            println!("{}", proof?);
            Ok(Verdict::Good)
        }
    }
}
