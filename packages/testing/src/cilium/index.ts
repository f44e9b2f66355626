/**
 * A cilium-agent as far as its REST API tells, for tests of what drives one: no Cilium and no cluster are needed.
 *
 * @packageDocumentation
 */
export { type ApiDescription, describeApi, type OperationDescription, type ParameterDescription } from './api-description.ts'
export { CILIUM_OPERATIONS, type CiliumOperation, type EndpointChangeRequest } from './api-model.ts'
export { installFakeCiliumCni } from './cni/install.ts'
export type { FakeAgentConfig } from './daemon-view.ts'
export { type FakeDatapath, NetnsDatapath, noDatapath } from './datapath.ts'
export { FakeCiliumAgent, type FakeCiliumOptions } from './fake-cilium-agent.ts'
export { type ClusterView, FakeCluster } from './fake-cluster.ts'
export type { FakeEndpoint } from './endpoints.ts'
export type { Fault, FaultEffect, Faults } from './faults.ts'
export { type Family, IP_EXPIRATION_MS, type PodRanges } from './ipam.ts'
export type { ServedRequest } from './http-server.ts'
export type { FakePodObject } from './labels.ts'
export type { FakeIngressRule, FakePolicy, LabelSelector, PolicySubject } from './policy.ts'
export type { FakeProcessConfig } from './process-config.ts'
export { type ApiLimit, DEFAULT_LIMITS, type LimitedGroup, NO_LIMITS } from './rate-limit.ts'
export { CILIUM_VERSIONS, type CiliumVersion } from './version.ts'
