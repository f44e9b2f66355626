/**
 * PCI functions of a machine: what they are, which driver has them, their virtual functions, and handing them to user space.
 *
 * It knows of no vendor. Everything goes through the port `Machine`.
 *
 * @packageDocumentation
 */
export * from './address.ts'
export * from './device.ts'
export * from './driver.ts'
export * from './override.ts'
export * from './userspace.ts'
export * from './vf-count.ts'
export * from './vfio-users.ts'
export * from './vfio.ts'
