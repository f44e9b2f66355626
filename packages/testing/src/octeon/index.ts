/**
 * A card of Marvell's OCTEON family without the card: the server that it is plugged into and Linux on it, as far as files and commands
 * show them, with the behaviour of their kernels and drivers.
 *
 * @packageDocumentation
 */
export type { AgentGeneration } from './agent/arguments.ts'
export type { AgentMode } from './agent/fake-agent.ts'
export * from './agent/install.ts'
export * from './card.ts'
export type { Command } from './command/command.ts'
export { complains, done, exited } from './command/command.ts'
export type { FakeService } from './command/systemctl.ts'
export { FakeSystemd } from './command/systemctl.ts'
export { FakeCpt } from './dpu/cpt.ts'
export type { CptCounts } from './dpu/cpt-counters.ts'
export type { DpuFirmware, DpuLayout, OcteonPart, OcteonRevision } from './dpu/layout.ts'
export { FakeOcteonMachine } from './fake-machine.ts'
export type { HostDriverFlavour } from './host/environment.ts'
export type { HugepageKb } from './kernel/hugepages.ts'
export type { FakeProcess } from './kernel/processes.ts'
export type { VfioProblem } from './kernel/vfio.ts'
export * from './rpc/connect.ts'
export { serveFakeOcteonCard } from './rpc/server.ts'
export type { Errno } from './system-error.ts'
export { SystemError } from './system-error.ts'
export type { AgentConfig, FunctionConfig } from './wire/agent-config.ts'
export { shippedConfig } from './wire/agent-config.ts'
export type { OpenedFunction } from './wire/agent-session.ts'
export { AgentSession } from './wire/agent-session.ts'
export { ControlPlane } from './wire/control-plane.ts'
export type { CardSide } from './wire/netdevs.ts'
export { VethNetdevs } from './wire/veth-netdevs.ts'
export type { FakeCardProcessConfig } from './process-config.ts'
