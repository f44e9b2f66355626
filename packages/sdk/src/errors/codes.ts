/** The closed set of stable error codes; {@link ERROR_CODES} says what each one means. */
export type ErrorCode =
  | 'INCOMPATIBLE_VERSION'
  | 'UNSUPPORTED_FIELD'
  | 'INVALID_ENVIRONMENT'
  | 'IO_FAILURE'
  | 'UNDECODABLE'
  | 'INVALID_NETCONF'
  | 'OWN_NETNS'
  | 'NO_FREE_VF'
  | 'RESOURCE_EXHAUSTED'
  | 'AGENT_UNREACHABLE'
  | 'DEADLINE_EXCEEDED'
  | 'CANCELLED'
  | 'NOT_READY'
  | 'LIMITED_CONNECTIVITY'
  | 'ALREADY_EXISTS'
  | 'CHECK_FAILED'
  | 'ADAPTER_FAILED'
  | 'KERNEL_REFUSED'
  | 'JOURNAL_FAILURE'
  | 'PERMISSION_DENIED'
  | 'HARDWARE_FAILURE'
  | 'INVALID_CONFIG'
  | 'INCOMPATIBLE_PEER'
  | 'NOT_FOUND'
  | 'INTERNAL'

/** What an error code becomes outside. */
export interface ErrorMapping {
  /** CNI error code. */
  readonly cni: number
  /** gRPC status code. */
  readonly grpc: number
  /** Whether the same call may succeed later without anybody changing its input. */
  readonly retryable: boolean
}

/**
 * Every error code of cni-offload with what it becomes for a container runtime (CNI) and on the wire (gRPC).
 *
 * This table is the only place where our codes meet CNI codes and gRPC status codes. Codes are permanent: a released one
 * is never renamed nor given another number.
 *
 * CNI: 1–11, 50 and 51 are the specification's own (8 is libcni's), 100 and up are ours, 999 is what Go plugins use
 * for an unclassified failure.
 *
 * @see https://www.cni.dev/docs/spec/#error
 */
export const ERROR_CODES: Readonly<Record<ErrorCode, ErrorMapping>> = {
  /** The configuration asks for a cniVersion that is not supported, or too old for the verb. */
  INCOMPATIBLE_VERSION: { cni: 1, grpc: 3, retryable: false },
  /** A field is understood but what it asks for cannot be provided. The message names key and value. */
  UNSUPPORTED_FIELD: { cni: 2, grpc: 3, retryable: false },
  /** A CNI_* variable is missing or malformed. The message names it. */
  INVALID_ENVIRONMENT: { cni: 4, grpc: 3, retryable: false },
  /** Standard input, a file or a socket could not be read or written. */
  IO_FAILURE: { cni: 5, grpc: 13, retryable: true },
  /** Text that is not the JSON, YAML or version that it should be. */
  UNDECODABLE: { cni: 6, grpc: 3, retryable: false },
  /** The network configuration is decodable but wrong. The message names the field. */
  INVALID_NETCONF: { cni: 7, grpc: 3, retryable: false },
  /** CNI_NETNS is the plugin's own network namespace: acting in it would take the node down. */
  OWN_NETNS: { cni: 8, grpc: 3, retryable: false },
  /** No virtual function is free at the moment. */
  NO_FREE_VF: { cni: 11, grpc: 8, retryable: true },
  /** An address pool, a queue or another bounded resource is used up at the moment. */
  RESOURCE_EXHAUSTED: { cni: 11, grpc: 8, retryable: true },
  /** The DPU agent does not answer. */
  AGENT_UNREACHABLE: { cni: 11, grpc: 14, retryable: true },
  /** The deadline passed before the operation ended; whatever it had done is undone. */
  DEADLINE_EXCEEDED: { cni: 11, grpc: 4, retryable: true },
  /** The caller gave up or the daemon is stopping. */
  CANCELLED: { cni: 11, grpc: 1, retryable: true },
  /** ADD cannot be served: agent, adapter or hardware is not ready. */
  NOT_READY: { cni: 50, grpc: 9, retryable: true },
  /** As NOT_READY, and pods that exist may have lost connectivity. */
  LIMITED_CONNECTIVITY: { cni: 51, grpc: 9, retryable: true },
  /** The attachment, the interface name or the VF is already in use. Nothing was touched. */
  ALREADY_EXISTS: { cni: 100, grpc: 6, retryable: false },
  /** CHECK found a difference. The message says which. */
  CHECK_FAILED: { cni: 101, grpc: 9, retryable: false },
  /** The adapter, or the CNI plugin that it runs, failed. */
  ADAPTER_FAILED: { cni: 102, grpc: 2, retryable: true },
  /** The kernel refused an operation. The message names operation, device and errno. */
  KERNEL_REFUSED: { cni: 103, grpc: 13, retryable: true },
  /** The journal could not be read or written. */
  JOURNAL_FAILURE: { cni: 104, grpc: 13, retryable: true },
  /** The peer's certificate does not give it this right. */
  PERMISSION_DENIED: { cni: 105, grpc: 7, retryable: false },
  /** The hardware backend failed or does not know the function or port. */
  HARDWARE_FAILURE: { cni: 106, grpc: 13, retryable: true },
  /** A daemon's configuration or a plugin's options are wrong. The message names file, path, value and what is expected. */
  INVALID_CONFIG: { cni: 107, grpc: 3, retryable: false },
  /** Host and agent, or a plugin and its runtime, speak no common version. */
  INCOMPATIBLE_PEER: { cni: 108, grpc: 9, retryable: false },
  /** What was asked for does not exist. */
  NOT_FOUND: { cni: 109, grpc: 5, retryable: false },
  /** A defect of cni-offload. Please report it. */
  INTERNAL: { cni: 999, grpc: 13, retryable: false },
}

/** Whether a text, from the wire for example, is one of our codes. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CODES, text)
}
