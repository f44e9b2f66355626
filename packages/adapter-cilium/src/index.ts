/**
 * Gives pods behind a DPU the network of a stock, unpatched cilium-agent that runs on it.
 *
 * `cilium` is the adapter; `CiliumClient` is the typed client of the agent's REST API that it works with.
 *
 * @packageDocumentation
 */
export { type AgentInfo, describeAgent, type Expectations, expectationsOf, type Family } from './agent-api/agent-info.ts'
export { type AgentPart, type AgentProblem, agentProblems, nodeOf } from './agent-api/agent-problems.ts'
export * from './api/api-error.ts'
export * from './api/client.ts'
export * from './api/patience.ts'
export type {
  AgentConfig,
  AgentHealth,
  AllocatedAddress,
  Allocation,
  CiliumEndpoint,
  EncryptionStatus,
  EndpointChange,
  EndpointHealth,
  EndpointLabels,
  IpsecStatus,
  NodeAddressing,
  NodeFamily,
  PartStatus,
  RoutingStatus,
  ServiceStatus,
} from './api/schemas.ts'
export * from './options.ts'
export * from './plugin.ts'
export { CiliumListFile, requireCilium } from './splice/cilium-list.ts'
export { CILIUM_STEPS, type CiliumStep } from './steps.ts'
