/**
 * Where a host daemon stands.
 *
 * - `INITIALIZED`: made, nothing touched.
 * - `STARTING`: opens the journal and the hardware, undoes what a crash left.
 * - `RUNNING`: answers requests.
 * - `DRAINING`: takes no new requests, running ones end.
 * - `STOPPED`: everything is given up; attachments stay.
 */
export type HostState = 'INITIALIZED' | 'STARTING' | 'RUNNING' | 'DRAINING' | 'STOPPED'
