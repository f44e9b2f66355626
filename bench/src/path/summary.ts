import { latency, type Latency, percentile } from '@cni-offload/cli'
import type { Samples } from './sample.ts'
import type { ProcessCost } from './spawner.ts'

/** One row of the table, milliseconds. */
export interface Contender {
  /** What ran. */
  readonly name: string
  /** Wall time of ADD, or of the whole run where there are no verbs. */
  readonly addMs?: Latency
  /** Mean CPU time of ADD on the host. */
  readonly addCpuMs?: number
  /** Wall time of DEL. */
  readonly delMs?: Latency
  /** Mean CPU time of DEL on the host. */
  readonly delCpuMs?: number
}

/** Ratios of ours to the peers of the same run. */
export interface PathRatios {
  /** CPU of the shim during an ADD, against /bin/true. */
  readonly shimCpuVsTrue: number
  /** ADD p50 against host-device + host-local. */
  readonly addP50VsGoHostDevice: number
  /** ADD p50 less the p50 of a bare move, in milliseconds. */
  readonly addP50MsOverMoveFloor: number
  /** DEL p50 against host-device + host-local. */
  readonly delP50VsGoHostDevice: number
  /** CPU of shim and daemon per ADD against host-device + host-local. */
  readonly hostCpuPerAddVsGoHostDevice: number
}

/** All figures of a run. */
export interface PathReport {
  /** Counted rounds. */
  readonly iterations: number
  /** The table. */
  readonly contenders: readonly Contender[]
  /** The ratios. */
  readonly ratios: PathRatios
  /** The ratios against what we hold ourselves to. */
  readonly targets: readonly { readonly name: keyof PathRatios; readonly value: number; readonly limit: number; readonly ok: boolean }[]
}

const LIMITS: Readonly<Partial<Record<keyof PathRatios, number>>> = {
  shimCpuVsTrue: 1.2,
  addP50VsGoHostDevice: 0.6,
  addP50MsOverMoveFloor: 5,
  hostCpuPerAddVsGoHostDevice: 0.5,
  delP50VsGoHostDevice: 0.6,
}

const wall = (samples: readonly ProcessCost[]): number[] => samples.map((sample) => sample.ms)
const p50 = (samples: readonly ProcessCost[]): number => percentile(wall(samples), 50)
const meanCpu = (samples: readonly ProcessCost[]): number => samples.reduce((sum, sample) => sum + sample.cpuMs, 0) / samples.length
const medianCpu = (samples: readonly ProcessCost[]): number =>
  percentile(
    samples.map((sample) => sample.cpuMs),
    50,
  )

/** Turns samples into the table, the ratios and the verdict on the targets. */
export function summarise(samples: Samples): PathReport {
  const verbs = (name: string, add: readonly ProcessCost[], del: readonly ProcessCost[]): Contender => ({
    name,
    addMs: latency(wall(add)),
    addCpuMs: meanCpu(add),
    delMs: latency(wall(del)),
    delCpuMs: meanCpu(del),
  })
  const once = (name: string, runs: readonly ProcessCost[]): Contender => ({ name, addMs: latency(wall(runs)), addCpuMs: meanCpu(runs) })
  const ratios: PathRatios = {
    shimCpuVsTrue: medianCpu(samples.shimAdd) / medianCpu(samples.true),
    addP50VsGoHostDevice: p50(samples.oursAdd) / p50(samples.hostDeviceAdd),
    addP50MsOverMoveFloor: p50(samples.oursAdd) - p50(samples.moveIn),
    delP50VsGoHostDevice: p50(samples.oursDel) / p50(samples.hostDeviceDel),
    hostCpuPerAddVsGoHostDevice: meanCpu(samples.oursAdd) / meanCpu(samples.hostDeviceAdd),
  }
  const names = Object.keys(LIMITS) as (keyof PathRatios)[]
  return {
    iterations: samples.true.length,
    contenders: [
      verbs('cni-offload (shim + daemon; agent on the DPU)', samples.oursAdd, samples.oursDel),
      verbs('Go host-device + host-local (moves a netdev)', samples.hostDeviceAdd, samples.hostDeviceDel),
      verbs('Go bridge + host-local (makes a veth)', samples.bridgeAdd, samples.bridgeDel),
      { name: 'bare netlink move (floor)', addMs: latency(wall(samples.moveIn)), delMs: latency(wall(samples.moveBack)) },
      once('shim alone, during ADD', samples.shimAdd),
      once('shim alone, VERSION', samples.shimVersion),
      once('/bin/true', samples.true),
    ],
    ratios,
    targets: names.map((name) => ({
      name,
      value: ratios[name],
      limit: LIMITS[name] ?? Number.POSITIVE_INFINITY,
      ok: ratios[name] <= (LIMITS[name] ?? 0),
    })),
  }
}
