/**
 * The DPU agent: serves `offload.v1` for the host of its node and drives CNI adapters on a hardware backend.
 *
 * @packageDocumentation
 */
export { type Agent, createAgent } from './agent.ts'
export { agentOptions, readAgentConfig } from './config/load.ts'
export { type AgentConfig, agentConfig } from './config/schema.ts'
export { type AgentLimits, DEFAULT_LIMITS } from './limits.ts'
export { LOG_LEVELS, type LogLevel, stderrLogger } from './log.ts'
export { CRYPTO_ENGINE_METRIC } from './metrics/crypto-engine.ts'
export { type AdapterChoice, type AgentOptions, DEFAULT_STATE_DIR, HARDWARE_FOLDER } from './options.ts'
export type { KeptPorts, PortRange } from './service/port-plan.ts'
export type { AgentState } from './state.ts'
export { AGENT_STEPS, type AgentStep } from './steps.ts'
