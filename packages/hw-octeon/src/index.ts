/**
 * Marvell OCTEON: a PCI card that runs Linux. The host half gives pods its virtual functions, the DPU half maps them to ports, keeps the
 * card's control plane alive and tells what its crypto engine does.
 *
 * @packageDocumentation
 */
export * from './cfg/check.ts'
export * from './cfg/chips.ts'
export * from './cfg/format.ts'
export * from './cfg/generate.ts'
export * from './cfg/libconfig-parser.ts'
export { LibconfigSyntaxError } from './cfg/libconfig-scanner.ts'
export * from './cfg/libconfig-value.ts'
export * from './cfg/libconfig-writer.ts'
export * from './cfg/model.ts'
export * from './cfg/problem.ts'
export * from './control-agent/child.ts'
export * from './control-agent/command-line.ts'
export * from './control-agent/events.ts'
export * from './control-agent/exit.ts'
export * from './control-agent/generation.ts'
export * from './control-agent/health.ts'
export * from './control-agent/log-line.ts'
export { type AgentInterruption, type AgentRecord, agentRecordFile, readAgentRecord } from './control-agent/record.ts'
export * from './control-agent/supervisor-options.ts'
export * from './control-agent/supervisor.ts'
export * from './control-agent/unit.ts'
export * from './control-agent/watch-agent.ts'
export * from './crypto/index.ts'
export * from './doctor/index.ts'
export * from './dpu/control-plane.ts'
export { OcteonDpu, type OcteonDpuDeps } from './dpu/octeon-dpu.ts'
export {
  AGENT_PID_FILE,
  type ControlAgentConfig,
  type ControlAgentOptions,
  makeOcteonDpu,
  octeonDpu,
  type OcteonDpuConfig,
  octeonDpuOptions,
  type OcteonDpuOptions,
  type SetupOptions,
} from './dpu/plugin.ts'
export { SupervisedAgent, type SupervisedAgentDeps, type SupervisedAgentOptions } from './dpu/supervised-agent.ts'
export { WatchedAgent, type WatchedAgentDeps, type WatchedAgentOptions } from './dpu/watched-agent.ts'
export type { BringUpOptions } from './host/bring-up.ts'
export { FunctionBook, type FunctionBookDeps, type Pristine } from './host/function-book.ts'
export { OcteonHost, type OcteonHostDeps } from './host/octeon-host.ts'
export { makeOcteonHost, octeonHost, type OcteonHostConfig, octeonHostOptions, type OcteonHostOptions } from './host/plugin.ts'
export * from './map/host-functions.ts'
export * from './map/ports.ts'
export * from './map/vf-maximum.ts'
export * from './pci/chip.ts'
export * from './pci/functions.ts'
export * from './pci/ids.ts'
export * from './pci/inventory.ts'
export * from './pci/problems.ts'
export * from './setup/index.ts'
export type { WithDefaults } from './options.ts'
