import { join } from 'node:path'
import { agentRecordFile } from '../../control-agent/record.ts'
import { AGENT_PID_FILE, octeonDpuOptions } from '../../dpu/plugin.ts'
import type { OcteonDpuExpectations } from './dpu-checks.ts'

/**
 * What the options of the DPU half say of a card: the doctor looks for what the backend does.
 *
 * @param options - as they are written; nothing is expected where they are wrong, which the check of the configuration says
 * @param stateDir - folder of the backend's state, if there is a daemon that has one
 */
export function octeonDpuExpectations(options: unknown, stateDir?: string): OcteonDpuExpectations {
  const parsed = octeonDpuOptions.safeParse(options)
  if (!parsed.success) return {}
  const {
    ports,
    controlAgent: { run, unit, sdk, cfg },
  } = parsed.data
  const common = { ports, sdk, agentConfig: cfg }
  if (run === 'external') return { ...common, agentUnit: unit }
  return stateDir === undefined ? common : { ...common, agentRecord: agentRecordFile(join(stateDir, AGENT_PID_FILE)) }
}
