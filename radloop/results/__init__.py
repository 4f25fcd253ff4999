"""What readers and models said, as others read it: DICOM reports and pictures, FHIR resources."""
