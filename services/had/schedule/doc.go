// Package schedule is the agent scheduler of one system: a pure core that
// turns the engine's commands and the agents' answers into entry point calls
// and reports. It owns the machine of each resource
//
//	Detached, Opening, Probing, Offline, Going Online, Going Online Waiting,
//	Online, Going Offline, Going Offline Waiting, Cleaning, Closing
//
// with VCS's limits (RestartLimit, OnlineWaitLimit, ToleranceLimit, ...). Two
// entry points of one resource never overlap; at most NumThreads of a type run
// at once.
//
// Safety: nothing that can raise a resource starts without a live lease, and
// what runs is cancelled when the lease ends; clean and offline are always
// allowed; a local restart happens only while the last applied intent is
// ONLINE and no command waits (R6). Before the first definite monitor a
// resource reports Probed=false (R8). A resource of a failover group is raised
// only while the system is armed (R2). After a clean the resource is monitored
// before anybody is told that it is down.
package schedule
