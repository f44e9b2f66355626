import type { Lab } from '../lab/lab.ts'
import type { DemoCheck, DemoPod } from './report.ts'
import type { Runtime } from './runtime.ts'

/** What the parts of the demo work with. */
export interface Stage {
  /** The lab. */
  readonly lab: Lab
  /** Calls the shim. */
  readonly runtime: Runtime
  /** Pods that run already and know each other. */
  readonly pods: readonly DemoPod[]
  /** Takes what was found, and tells it. */
  readonly report: (...checks: readonly DemoCheck[]) => void
  /** Told what happens, for people. */
  readonly say: (text: string) => void
}
