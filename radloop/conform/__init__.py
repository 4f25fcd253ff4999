"""A checker of DICOMweb servers, ours and others: what they answer, held against the paragraph that says so."""
