/**
 * Arguments that a runtime passes to every plugin that declares them and that ask nothing of the network: metadata, the
 * VF choice that the host makes, and resolver settings, which the host puts into the result.
 */
const ASK_NOTHING: ReadonlySet<string> = new Set([
  'io.kubernetes.cri.pod-annotations',
  'dns',
  'CNIDeviceInfoFile',
  'deviceID',
  'cgroupPath',
])

/** Whether a value asks for nothing: absent, empty, or made of nothing but that. */
export function asksNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true
  if (Array.isArray(value)) return value.length === 0
  return typeof value === 'object' && Object.values(value).every(asksNothing)
}

/**
 * The capability arguments that ask something of the network: whoever makes it has to honour each of them or to refuse.
 *
 * @returns names and values, in the order of `runtimeConfig`
 */
export function capabilityDemands(runtimeConfig: Readonly<Record<string, unknown>>): [string, unknown][] {
  return Object.entries(runtimeConfig).filter(([key, value]) => !asksNothing(value) && !ASK_NOTHING.has(key))
}
