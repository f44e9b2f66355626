/** What a call of kubectl leaves. */
export interface KubectlAnswer {
  /** Standard output; what is no text is printed as JSON. Nothing by default. */
  readonly stdout?: unknown
  /** Standard error. Nothing by default. */
  readonly stderr?: string
  /** Exit code. @defaultValue 0 */
  readonly exitCode?: number
}

/** An answer on standard output, as JSON unless it is a text. */
export function prints(stdout: unknown): KubectlAnswer {
  return { stdout }
}

/** The API server has no such object. @param resource - plural, with its group where it has one: `ciliumnodes.cilium.io` */
export function notFound(resource: string, name: string): KubectlAnswer {
  return failed(`Error from server (NotFound): ${resource} "${name}" not found`)
}

/** The API server does not allow it. @param verb - `get`, `list`, `create` … */
export function forbidden(verb: string, resource: string, namespace?: string): KubectlAnswer {
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`
  return failed(
    `Error from server (Forbidden): ${resource} is forbidden: User "somebody" cannot ${verb} resource "${resource}" in API group "" ${where}`,
  )
}

/** The credentials do not hold any more. */
export function unauthorized(): KubectlAnswer {
  return failed('error: You must be logged in to the server (Unauthorized)')
}

/** The cluster has no such kind, because its CustomResourceDefinition is not there. */
export function unknownKind(resource: string): KubectlAnswer {
  return failed(`error: the server doesn't have a resource type "${resource}"`)
}

/** Nobody listens at the address of the API server; kubectl's libraries log each of their tries before. */
export function unreachable(server = '192.0.2.1:6443'): KubectlAnswer {
  const log = `E0102 03:04:05.678901    4711 memcache.go:265] "Unhandled Error" err="couldn't get current server API group list: connection refused"`
  return failed(`${log}\n${log}\nThe connection to the server ${server} was refused - did you specify the right host or port?`)
}

/** `kubectl wait` has waited long enough. @param what - `pods/xwing` */
export function waitTimeout(what: string): KubectlAnswer {
  return failed(`error: timed out waiting for the condition on ${what}`)
}

/** The command that `kubectl exec` ran has failed, not kubectl. */
export function remoteExit(exitCode: number, stdout = '', stderr = ''): KubectlAnswer {
  return { stdout, stderr: `${stderr === '' ? '' : `${stderr}\n`}command terminated with exit code ${exitCode}\n`, exitCode }
}

/** kubectl has failed and says this. */
export function failed(text: string): KubectlAnswer {
  return { stderr: `${text}\n`, exitCode: 1 }
}
